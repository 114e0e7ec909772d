package nvidiatest_test

import (
	"bytes"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
)

func TestOneSeedMakesTheSameRootsAndDevices(t *testing.T) {
	spec := nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{1}}
	make := func(seed string) (*nvidiatest.PKI, []byte) {
		pki, err := nvidiatest.New([]byte(seed))
		if err != nil {
			t.Fatal(err)
		}
		device, err := pki.Device(spec)
		if err != nil {
			t.Fatal(err)
		}
		report, err := device.Report(nvidiatest.ReportSpec{})
		if err != nil {
			t.Fatal(err)
		}
		return pki, append(report, nvidia.ChainPEM(device.Chain())...)
	}
	a, first := make("one seed of 16 bytes")
	b, again := make("one seed of 16 bytes")
	c, other := make("another seed of 16 bytes")
	if !bytes.Equal(a.DeviceRoot.Cert.Raw, b.DeviceRoot.Cert.Raw) || !bytes.Equal(first, again) {
		t.Error("the same seed made other roots or evidence")
	}
	if bytes.Equal(a.DeviceRoot.Cert.Raw, c.DeviceRoot.Cert.Raw) || bytes.Equal(first, other) {
		t.Error("another seed made the same")
	}
}

func TestSeedsAreLong(t *testing.T) {
	if _, err := nvidiatest.New([]byte("short")); err == nil {
		t.Error("a seed of 5 bytes was accepted")
	}
	if _, err := nvidiatest.New(nil); err != nil {
		t.Errorf("a random seed: %v", err)
	}
}
