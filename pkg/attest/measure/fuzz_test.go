package measure_test

import (
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

func FuzzFirmware(f *testing.F) {
	f.Add(goodImage().build(f))
	im := goodImage()
	im.tdx = im.tdx[:1]
	f.Add(im.build(f)[im.size-4096:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 128<<10 {
			return
		}
		var zero measure.Digest
		g := measure.SNPGuest{Firmware: b, FirmwareHash: &zero, VCPUs: 2, VCPUType: "EPYC", GuestFeatures: 1, Boot: &measure.DirectBoot{}}
		if _, err := measure.SNPLaunchDigest(g); err == nil {
			g.Boot = nil
			if _, err := measure.SNPLaunchDigest(g); err != nil {
				t.Errorf("measured with a kernel and not without: %v", err)
			}
		}
		_, _ = measure.MeasureTDX(measure.TDXGuest{Firmware: b})
	})
}

func FuzzKernel(f *testing.F) {
	f.Add(kernel(0))
	f.Add(kernel(0x200))
	f.Fuzz(func(t *testing.T, b []byte) {
		if patched, err := measure.PatchKernel(b, 100, 0); err == nil && len(patched) != len(b) {
			t.Error("patching changed the size")
		}
		_, _ = measure.Authenticode(b)
	})
}

func FuzzParseEventLog(f *testing.F) {
	f.Add(bootLog().b)
	f.Add(newLog(sha384).b)
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := measure.ParseEventLog(b)
		if err != nil {
			return
		}
		_, _ = measure.Replay(events)
		for _, e := range events {
			_ = e.CheckContent()
		}
	})
}
