package measure_test

import (
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// BenchmarkSNPLaunchDigest measures 4 MiB of firmware and 64 vCPUs.
func BenchmarkSNPLaunchDigest(b *testing.B) {
	im := goodImage()
	im.size = 4 << 20
	g := measure.SNPGuest{Firmware: im.build(b), VCPUs: 64, VCPUType: "EPYC-v4", GuestFeatures: 1, Boot: &measure.DirectBoot{}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := measure.SNPLaunchDigest(g); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMRTD(b *testing.B) {
	im := goodImage()
	g := measure.TDXGuest{Firmware: im.build(b)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := measure.MeasureTDX(g); err != nil {
			b.Fatal(err)
		}
	}
}
