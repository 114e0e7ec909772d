package vendors

import (
	"crypto/sha512"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
)

// Measurements of a report: GPUs have 64, switches 31.
const (
	gpuMeasurements    = 64
	switchMeasurements = 31
)

// reportOf is what a simulated device of an architecture measures and says of
// itself; nonce and links are the machine's.
func reportOf(arch nvidia.Architecture) nvidiatest.ReportSpec {
	s := nvidiatest.ReportSpec{Measurements: map[int][]byte{}}
	if arch == nvidia.Blackwell {
		s.VBIOS, s.Project, s.ChipSKU = "97.00.88.00.0F", "G520", "895"
	}
	n := gpuMeasurements
	if arch.IsSwitch() {
		n = switchMeasurements
	}
	for i := range n {
		sum := sha512.Sum384(fmt.Appendf(nil, "casemate simulated %s, measurement %d", arch, i))
		s.Measurements[i] = sum[:]
	}
	return s
}

// rim issues the RIM of a device's driver or VBIOS. The driver's RIM demands the
// even measurements of a GPU, the VBIOS' the odd ones, a switch's all.
func (v *Vendors) rim(file string, arch nvidia.Architecture, o nvidia.Opaque, signer *nvidiatest.Signer) (*collateral.Document, error) {
	spec := nvidiatest.RIMSpec{Signer: signer, Product: map[nvidia.Architecture]string{nvidia.Blackwell: "GB100", nvidia.LS10: "LS10"}[arch]}
	takes := func(i int) bool { return i%2 == 1 }
	var err error
	if arch.IsSwitch() {
		spec.Edition, takes = "SWITCH", func(int) bool { return true }
	}
	spec.Version, err = o.VBIOSVersion(arch)
	if err != nil {
		return nil, err
	}
	if id, err := nvidia.DriverRIMID(arch, o); !arch.IsSwitch() && err == nil && file == "nvidia/rim/"+id+".xml" {
		if spec.Version, err = o.DriverVersion(); err != nil {
			return nil, err
		}
		takes = func(i int) bool { return i%2 == 0 }
	}
	measured := reportOf(arch).Measurements
	for i := range len(measured) {
		if takes(i) {
			spec.Golden = append(spec.Golden, nvidia.Golden{Index: i, Active: true, Values: [][]byte{measured[i]}})
		}
	}
	body, err := v.nvidia.RIM(spec)
	return &collateral.Document{Body: body}, err
}
