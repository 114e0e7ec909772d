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

func TestADeviceSignsWithoutItsVendor(t *testing.T) {
	pki, err := nvidiatest.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	made, err := pki.Device(nvidiatest.DeviceSpec{Arch: nvidia.Blackwell, PDI: nvidia.PDI{7}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	device, err := nvidiatest.ParseDevice(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]any{{made.Spec.Arch, device.Spec.Arch}, {len(made.Chain()), len(device.Chain())}} {
		if pair[0] != pair[1] {
			t.Errorf("read back %v, want %v", pair[1], pair[0])
		}
	}
	spec := nvidiatest.ReportSpec{Nonce: make([]byte, 32)}
	want, err := made.Report(spec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := device.Report(spec)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the device signs another report than before: %v", err)
	}
	for name, bad := range map[string]string{"nothing": "", "no key": "{}", "a key that is none": `{"key":"AAAA"}`} {
		if _, err := nvidiatest.ParseDevice([]byte(bad)); err == nil {
			t.Errorf("%s was read as a device", name)
		}
	}
}
