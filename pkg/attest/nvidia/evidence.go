package nvidia

import (
	"errors"
	"fmt"
)

// MaxDevices is more than any host has: 8 GPUs and 4 NVSwitches are the most today.
const MaxDevices = 32

// Device is the evidence of one GPU or NVSwitch.
type Device struct {
	// Arch is what the document says the device is.
	Arch Architecture
	// Report is the SPDM request and response, see [ParseReport].
	Report []byte
	// Chain is the certificate chain in DER, leaf first, root last.
	Chain [][]byte
	// Stated is what the document says beside the signed report.
	Stated Stated
}

// Stated are unsigned values in a document. They are believed of nobody: where
// they are given, they have to say the same as the report.
type Stated struct {
	// Nonce is 32 bytes, or nil.
	Nonce []byte
	// DriverVersion and VBIOSVersion are empty where the document has none.
	DriverVersion, VBIOSVersion string
}

// Evidence is what one enclave hands in about its devices.
type Evidence struct {
	// Devices are GPUs and NVSwitches, numbered apart, in the document's order.
	Devices []Device
	// System is set where the evidence speaks of the host's devices as a whole,
	// GPUs and switches, rather than of some devices by themselves. Then GPUs in
	// protected PCIe mode need the switches they are linked by.
	System bool
}

// ParseEvidence parses a document of one of three forms:
//
//   - the attestation SDK's: an array of {arch, certificate, evidence} or one of
//     them alone, certificate the base64 of a PEM chain, evidence that of a report,
//     with nonce, version, driver_version and vbios_version where the SDK wrote them;
//   - {gpus: [{Arch, UUID, DriverVersion, VbiosVersion, AttestationReport,
//     CertificateChains}]}, of GPUs in multi-GPU mode;
//   - {gpus: […], nvswitches: […]}, of a host in protected PCIe mode, as nvtrust
//     serialises it.
//
// Unknown and repeated members, escapes, non-canonical base64 and PEM are
// refused. Unsigned members that name nothing a check relies on (UUID, BoardId)
// are checked for their form and not kept.
func ParseEvidence(document []byte) (Evidence, error) {
	v, err := parseJSON(document)
	if err != nil {
		return Evidence{}, fmt.Errorf("evidence document: %w", err)
	}
	var e Evidence
	switch v.kind {
	case '[':
		err = e.readSDK(v)
	case '{':
		if v.get("gpus") == nil && v.get("arch") != nil {
			err = e.readSDK(value{kind: '[', items: []value{v}})
			break
		}
		err = e.readSystem(v)
	default:
		err = errors.New("want an array of devices, or an object with gpus")
	}
	if err != nil {
		return Evidence{}, fmt.Errorf("evidence document: %w", err)
	}
	return e, e.check()
}

func (e *Evidence) check() error {
	switch n := len(e.Devices); {
	case n == 0:
		return errors.New("evidence holds no device")
	case n > MaxDevices:
		return fmt.Errorf("evidence holds %d devices, more than %d", n, MaxDevices)
	}
	return nil
}

// NewEvidence wraps one raw report and its chain in PEM.
func NewEvidence(arch Architecture, report, chainPEM []byte) (Evidence, error) {
	chain, err := ParseChainPEM(chainPEM)
	if err != nil {
		return Evidence{}, fmt.Errorf("device certificates: %w", err)
	}
	return Evidence{Devices: []Device{{Arch: arch, Report: report, Chain: chain}}}, nil
}

// names returns the prefix of each device in check names: gpu0_, gpu1_, switch0_.
func (e *Evidence) names() []string {
	out := make([]string, len(e.Devices))
	gpus, switches := 0, 0
	for i, d := range e.Devices {
		if d.Arch.IsSwitch() {
			out[i] = fmt.Sprintf("switch%d_", switches)
			switches++
		} else {
			out[i] = fmt.Sprintf("gpu%d_", gpus)
			gpus++
		}
	}
	return out
}
