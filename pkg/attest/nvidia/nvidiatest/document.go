package nvidiatest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// SDKDocument writes devices as the attestation SDK does; see
// [nvidia.ParseEvidence].
func SDKDocument(devices []nvidia.Device) ([]byte, error) {
	type entry struct {
		Arch        nvidia.Architecture `json:"arch"`
		Certificate []byte              `json:"certificate"`
		Evidence    []byte              `json:"evidence"`
		Nonce       string              `json:"nonce,omitempty"`
	}
	entries := make([]entry, len(devices))
	for i, d := range devices {
		entries[i] = entry{d.Arch, ChainPEM(d.Chain), d.Report, hex.EncodeToString(d.Stated.Nonce)}
	}
	return marshal(entries)
}

// SystemDocument writes GPUs and switches as one host's.
func SystemDocument(devices []nvidia.Device) ([]byte, error) {
	type blob struct {
		B64 []byte `json:"py/b64"`
	}
	type certificate struct {
		PEM []byte `json:"pem"`
	}
	type chains struct {
		Certs []certificate `json:"GpuAttestationCertificateChain"`
	}
	type gpu struct {
		UUID, VbiosVersion, DriverVersion string
		Arch                              nvidia.Architecture
		AttestationReport                 blob
		CertificateChains                 chains
	}
	type nvswitch struct {
		UUID   string        `json:"uuid"`
		Certs  []certificate `json:"attestation_cert_chain"`
		Report blob          `json:"attestation_report"`
	}
	var doc struct {
		GPUs     []gpu      `json:"gpus"`
		Switches []nvswitch `json:"nvswitches,omitempty"`
	}
	for i, d := range devices {
		uuid := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
		certs := []certificate{{ChainPEM(d.Chain)}}
		if d.Arch.IsSwitch() {
			doc.Switches = append(doc.Switches, nvswitch{"SWX-" + uuid, certs, blob{d.Report}})
			continue
		}
		doc.GPUs = append(doc.GPUs, gpu{
			"GPU-" + uuid, d.Stated.VBIOSVersion, d.Stated.DriverVersion, d.Arch, blob{d.Report}, chains{certs},
		})
	}
	return marshal(doc)
}

func marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("test document: %w", err)
	}
	return b, nil
}
