package nvidia_test

import (
	"crypto/sha512"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
)

// testPKI is shared: its certificates follow from the seed.
var testPKI = sync.OnceValues(func() (*nvidiatest.PKI, error) { return nvidiatest.New([]byte("casemate nvidia tests")) })

// Ids of the RIMs that the lab's devices need.
const (
	driverID = "NV_GPU_DRIVER_GH100_550.90.07"
	vbiosID  = "NV_GPU_VBIOS_1010_0200_882_96009F0001"
	ccDriver = "NV_GPU_CC_DRIVER_GB100_550.90.07"
	biosID   = "NV_SWITCH_BIOS_5612_0002_890_9610550001"
)

type labDevice struct {
	device nvidiatest.DeviceSpec
	report nvidiatest.ReportSpec
}

// lab is a host with made-up devices and all that a verifier needs to know of
// them. A hostile case changes one thing in it.
type lab struct {
	t       testing.TB
	pki     *nvidiatest.PKI
	at      time.Time
	nonce   []byte
	devices []labDevice
	rims    map[string]*nvidiatest.RIMSpec
	policy  nvidia.Policy

	// editOCSP changes what the responder says of the certificate of that subject.
	editOCSP func(subject string, spec *nvidiatest.OCSPSpec)
	// editEvidence changes the evidence after it was made.
	editEvidence func(*nvidia.Evidence)
	// editSets changes the sets before they are used.
	editSets func(*nvidia.RIMSet, *nvidia.OCSPSet)
	// drop leaves out RIMs by id and OCSP responses by subject.
	drop map[string]bool
}

func measured(index int) []byte {
	sum := sha512.Sum384(fmt.Appendf(nil, "measurement %d", index))
	return sum[:]
}

func pdi(n byte) nvidia.PDI { return nvidia.PDI{0x43, 0x1d, 0x48, 0x0f, 0, 0, 0, n} }

func golden(indexes ...int) []nvidia.Golden {
	var out []nvidia.Golden
	for _, i := range indexes {
		out = append(out, nvidia.Golden{Index: i, Active: true, Values: [][]byte{measured(99), measured(i)}})
	}
	return append(out, nvidia.Golden{Index: 60, Values: [][]byte{make([]byte, 48)}})
}

func measurements(n int) map[int][]byte {
	m := map[int][]byte{}
	for i := range n {
		m[i] = measured(i)
	}
	return m
}

// newLab returns a lab with one Hopper GPU, whose evidence the strictest policy
// accepts with nothing left open.
func newLab(t testing.TB) *lab {
	pki, err := testPKI()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, pki: pki, at: day("2026-11-01T12:00"), nonce: measured(7)[:32], drop: map[string]bool{}}
	l.devices = []labDevice{l.gpu(nvidia.Hopper, 1)}
	l.rims = map[string]*nvidiatest.RIMSpec{
		driverID: {Version: "550.90.07", Golden: golden(7, 21, 35)},
		vbiosID:  {Version: "96.00.9F.00.01", Golden: golden(0, 1, 2)},
	}
	l.policy = pki.Trust(nvidia.Policy{})
	l.policy.Architectures = []nvidia.Architecture{nvidia.Hopper, nvidia.Blackwell, nvidia.LS10}
	l.policy.DriverVersions, l.policy.MinimumDriver = []string{"550.90.07"}, "550.54.14"
	l.policy.VBIOSVersions = []string{"96.00.9F.00.01", "96.10.55.00.01"}
	l.policy.Modes = []nvidia.Mode{nvidia.ModeSingle}
	l.count(1, 0)
	return l
}

func (l *lab) count(gpus, switches int) { l.policy.GPUCount, l.policy.SwitchCount = &gpus, &switches }

func (l *lab) gpu(arch nvidia.Architecture, n byte) labDevice {
	return labDevice{
		nvidiatest.DeviceSpec{Arch: arch, PDI: pdi(n)},
		nvidiatest.ReportSpec{Nonce: l.nonce, Measurements: measurements(40)},
	}
}

// protected makes the lab a host of two Hopper GPUs and two switches in protected
// PCIe mode.
func (l *lab) protected() *lab {
	gpus, switches := []nvidia.PDI{pdi(1), pdi(2)}, []nvidia.PDI{pdi(0x51), pdi(0x52)}
	l.devices = nil
	for n := range gpus {
		g := l.gpu(nvidia.Hopper, byte(n+1))
		g.report.Mode, g.report.LinkedSwitches = nvidia.ModeProtectedPCIe, switches
		l.devices = append(l.devices, g)
	}
	for n := range switches {
		s := l.gpu(nvidia.LS10, byte(0x51+n))
		s.report.LinkedGPUs = gpus
		l.devices = append(l.devices, s)
	}
	l.rims[biosID] = &nvidiatest.RIMSpec{Version: "96.10.55.00.01", Product: "LS10", Edition: "SWITCH", Golden: golden(0, 1)}
	l.policy.Modes = []nvidia.Mode{nvidia.ModeProtectedPCIe}
	l.policy.ProtectedPCIe = nvidia.ProtectedPCIeRequired
	l.count(2, 2)
	return l
}

// blackwell makes the lab a host of two Blackwell GPUs in multi-GPU mode.
func (l *lab) blackwell() *lab {
	l.devices = []labDevice{l.gpu(nvidia.Blackwell, 1), l.gpu(nvidia.Blackwell, 2)}
	for i := range l.devices {
		l.devices[i].report.Mode = nvidia.ModeMulti
	}
	l.rims[ccDriver] = &nvidiatest.RIMSpec{Version: "550.90.07", Product: "GB100", Golden: golden(7, 21)}
	l.rims[vbiosID].Product = "GB100"
	delete(l.rims, driverID)
	l.policy.Modes = []nvidia.Mode{nvidia.ModeMulti}
	l.count(2, 0)
	return l
}

func must[V any](l *lab, v V, err error) V {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	return v
}

// responses adds the statements of a signer and of all above it but the root.
func (l *lab) responses(set *nvidia.OCSPSet, s *nvidiatest.Signer, seen map[string]bool) {
	for ; s != nil && s.Issuer != nil; s = s.Issuer {
		subject := s.Cert.Subject.CommonName
		key := subject + s.Cert.SerialNumber.String()
		if seen[key] || l.drop[subject] {
			continue
		}
		seen[key] = true
		spec := nvidiatest.OCSPSpec{Subject: s, Status: ocsp.Good, ThisUpdate: l.at.Add(-time.Hour), NextUpdate: l.at.Add(23 * time.Hour)}
		if l.editOCSP != nil {
			l.editOCSP(subject, &spec)
		}
		if err := set.Add(must2(l.pki.OCSP(spec))(l)); err != nil {
			l.t.Fatal(err)
		}
	}
}

func must2[V any](v V, err error) func(*lab) V {
	return func(l *lab) V { return must(l, v, err) }
}

// build makes the evidence and the two sets.
func (l *lab) build() (nvidia.Evidence, *nvidia.RIMSet, *nvidia.OCSPSet) {
	l.t.Helper()
	rims, responses := must2(nvidia.NewRIMSet(nil))(l), must2(nvidia.NewOCSPSet())(l)
	seen := map[string]bool{}
	evidence := nvidia.Evidence{System: len(l.devices) > 1}
	for _, d := range l.devices {
		device := must2(l.pki.Device(d.device))(l)
		evidence.Devices = append(evidence.Devices, must2(device.Evidence(d.report))(l))
		l.responses(responses, device.Issuer, seen)
	}
	for id, spec := range l.rims {
		if l.drop[id] {
			continue
		}
		signer := must2(l.pki.RIMSigner(*spec))(l)
		l.responses(responses, signer, seen)
		if err := rims.Add(id, must2(l.pki.RIM(*spec))(l)); err != nil {
			l.t.Fatal(err)
		}
	}
	if l.editEvidence != nil {
		l.editEvidence(&evidence)
	}
	if l.editSets != nil {
		l.editSets(rims, responses)
	}
	return evidence, rims, responses
}

// verify makes everything anew and judges it.
func (l *lab) verify() *attest.Verdict {
	l.t.Helper()
	evidence, rims, responses := l.build()
	return newVerifier(l.t, l.pki.Config()).Verify(evidence, rims, responses, l.policy, l.nonce, l.at)
}
