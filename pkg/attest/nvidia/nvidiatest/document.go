package nvidiatest

import (
	"encoding/json"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// SystemDocument writes GPUs and switches as one host's, a form that
// [nvidia.EncodeEvidence] does not write.
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
		certs := []certificate{{nvidia.ChainPEM(d.Chain)}}
		if d.Arch.IsSwitch() {
			doc.Switches = append(doc.Switches, nvswitch{"SWX-" + uuid, certs, blob{d.Report}})
			continue
		}
		doc.GPUs = append(doc.GPUs, gpu{
			"GPU-" + uuid, d.Stated.VBIOSVersion, d.Stated.DriverVersion, d.Arch, blob{d.Report}, chains{certs},
		})
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("test document: %w", err)
	}
	return b, nil
}
