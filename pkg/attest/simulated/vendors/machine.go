package vendors

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// Spec says what machine to make.
type Spec struct {
	// TEE is sev-snp or tdx.
	TEE attest.Format
	// Host tells the GPUs of one host from those of another.
	Host string
	// GPUs are the PCI addresses of the machine's GPUs.
	GPUs []string
	// Architecture is theirs: HOPPER or BLACKWELL.
	Architecture nvidia.Architecture
}

// stored is a machine as it is handed to the process that plays it: keys of its own
// processor and GPUs, none of an authority.
type stored struct {
	TEE       attest.Format     `json:"tee"`
	Processor []byte            `json:"processor"`
	Devices   []json.RawMessage `json:"devices"`
}

// switches is how many NVSwitches join the GPUs of a Hopper board.
const switches = 4

// Machine makes a machine and returns it for [ParseMachine]. The same GPUs are the
// same devices every time.
func (v *Vendors) Machine(s Spec) ([]byte, error) {
	m := stored{TEE: s.TEE, Devices: []json.RawMessage{}}
	var err error
	switch s.TEE {
	case attest.FormatSEVSNP:
		m.Processor, err = v.chip.Marshal()
	case attest.FormatTDX:
		m.Processor, err = v.intel.Marshal()
	default:
		err = fmt.Errorf("%.40q is no TEE that is simulated; there are %s and %s", s.TEE, attest.FormatSEVSNP, attest.FormatTDX)
	}
	if err != nil {
		return nil, fmt.Errorf("make simulated machine: %w", err)
	}
	for _, name := range s.GPUs {
		if err := v.addDevice(&m, s.Architecture, s.Host+"/"+name); err != nil {
			return nil, err
		}
	}
	if s.Architecture == nvidia.Hopper && len(s.GPUs) > 1 {
		for i := range switches {
			if err := v.addDevice(&m, nvidia.LS10, fmt.Sprintf("%s/switch%d", s.Host, i)); err != nil {
				return nil, err
			}
		}
	}
	return json.Marshal(m)
}

func (v *Vendors) addDevice(m *stored, arch nvidia.Architecture, name string) error {
	key := string(arch) + " " + name
	v.mu.Lock()
	defer v.mu.Unlock()
	text, known := v.devices[key]
	if !known {
		sum := sha256.Sum256([]byte(key))
		d, err := v.nvidia.Device(nvidiatest.DeviceSpec{Arch: arch, PDI: nvidia.PDI(sum[:8])})
		if err != nil {
			return fmt.Errorf("make simulated device: %w", err)
		}
		if text, err = d.Marshal(); err != nil {
			return fmt.Errorf("make simulated device: %w", err)
		}
		if err := v.publishDevice(d); err != nil {
			return err
		}
		v.devices[key] = text
	}
	m.Devices = append(m.Devices, text)
	return nil
}

// Launch is what a machine was launched with.
type Launch struct {
	// Measurement is the launch digest, or MRTD with the RTMRs of [simulated.Registers].
	Measurement [48]byte
	// HostData is the digest of the platform part: HOST_DATA, or the beginning of
	// MRCONFIGID.
	HostData [32]byte
}

// Machine signs what a guest asks for. It is safe for concurrent use.
type Machine struct {
	tee     attest.Format
	chip    *sevsnptest.Chip
	td      *tdxtest.Platform
	devices []*nvidiatest.Device
}

// ParseMachine reads a machine that was handed to this process.
func ParseMachine(b []byte) (*Machine, error) {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read simulated machine: %w", err)
	}
	m := &Machine{tee: s.TEE}
	var err error
	switch s.TEE {
	case attest.FormatSEVSNP:
		m.chip, err = sevsnptest.ParseChip(s.Processor)
	case attest.FormatTDX:
		m.td, err = tdxtest.UnmarshalPlatform(s.Processor)
	default:
		err = errors.New("it has no TEE")
	}
	if err != nil {
		return nil, fmt.Errorf("read simulated machine: %w", err)
	}
	for _, text := range s.Devices {
		d, err := nvidiatest.ParseDevice(text)
		if err != nil {
			return nil, fmt.Errorf("read simulated machine: %w", err)
		}
		m.devices = append(m.devices, d)
	}
	return m, nil
}

// Provider is the name of the driver that would give its reports.
func (m *Machine) Provider() string {
	if m.tee == attest.FormatTDX {
		return "tdx_guest"
	}
	return "sev_guest"
}

// Processor returns what makes reports of a launch: the report or quote over the
// data, and what the host gives beside it.
func (m *Machine) Processor(l Launch) func(data [64]byte) (report, auxiliary []byte, err error) {
	if m.tee == attest.FormatTDX {
		return func(data [64]byte) ([]byte, []byte, error) {
			raw, err := m.quote(l, data)
			return raw, nil, err
		}
	}
	certs := m.chip.Certificates()
	table := (&sevsnp.CertTable{VCEK: certs[0], ASK: certs[1], ARK: certs[2]}).Marshal()
	return func(data [64]byte) ([]byte, []byte, error) {
		r := m.chip.Report()
		r.Measurement, r.HostData, r.ReportData = l.Measurement, l.HostData, data
		raw, err := m.chip.Sign(r)
		return raw, table, err
	}
}

func (m *Machine) quote(l Launch, data [64]byte) ([]byte, error) {
	q := tdxtest.NewQuote(4, 2)
	q.Body.MRTD, q.Body.ReportData, q.Body.RTMR = l.Measurement, data, [4][48]byte{}
	registers := simulated.Registers(l.Measurement)
	copy(q.Body.RTMR[:], registers[:])
	copy(q.Body.MRConfigID[:], l.HostData[:])
	return m.td.Quote(q)
}

// Devices returns one document for each GPU and switch over the nonce.
func (m *Machine) Devices(nonce [32]byte) ([][]byte, error) {
	gpus, err := m.GPUs(nonce)
	if err != nil {
		return nil, err
	}
	switches, err := m.Switches(nonce)
	if err != nil {
		return nil, err
	}
	return documents(append(gpus, switches...))
}

// GPUs is the evidence of each GPU over the nonce.
func (m *Machine) GPUs(nonce [32]byte) ([]nvidia.Device, error) { return m.evidence(nonce, false) }

// Switches is the evidence of each NVSwitch over the nonce.
func (m *Machine) Switches(nonce [32]byte) ([]nvidia.Device, error) { return m.evidence(nonce, true) }

func (m *Machine) evidence(nonce [32]byte, switches bool) ([]nvidia.Device, error) {
	links := m.links()
	var out []nvidia.Device
	for _, d := range m.devices {
		if d.Spec.Arch.IsSwitch() != switches {
			continue
		}
		spec := reportOf(d.Spec.Arch)
		spec.Mode, spec.LinkedSwitches, spec.LinkedGPUs, spec.Nonce = links.Mode, links.LinkedSwitches, links.LinkedGPUs, nonce[:]
		e, err := d.Evidence(spec)
		if err != nil {
			return nil, fmt.Errorf("simulated device: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// documents encodes the evidence of devices, one document for each.
func documents(devices []nvidia.Device) ([][]byte, error) {
	var out [][]byte
	for _, d := range devices {
		document, err := nvidia.EncodeEvidence(nvidia.Evidence{Devices: []nvidia.Device{d}})
		if err != nil {
			return nil, fmt.Errorf("simulated device: %w", err)
		}
		out = append(out, document)
	}
	return out, nil
}

// links is what all devices say of one another: one GPU stands by itself, several on
// a Hopper board are in protected PCIe mode with their switches, Blackwell's encrypt
// their links.
func (m *Machine) links() nvidiatest.ReportSpec {
	var gpus, joined []nvidia.PDI
	for _, d := range m.devices {
		if d.Spec.Arch.IsSwitch() {
			joined = append(joined, d.Spec.PDI)
		} else {
			gpus = append(gpus, d.Spec.PDI)
		}
	}
	switch {
	case len(joined) > 0:
		return nvidiatest.ReportSpec{Mode: nvidia.ModeProtectedPCIe, LinkedSwitches: joined, LinkedGPUs: gpus}
	case len(gpus) > 1:
		return nvidiatest.ReportSpec{Mode: nvidia.ModeMulti}
	}
	return nvidiatest.ReportSpec{}
}
