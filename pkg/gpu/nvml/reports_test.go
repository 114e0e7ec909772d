//go:build cgo && linux

package nvml

import (
	"errors"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

const chainText = "-----BEGIN CERTIFICATE-----\n"

// reporting is a host of eight cards that report: each says its address behind the
// nonce.
func reporting() *dgxa100.Server {
	s := on()
	for i := range s.Devices {
		d := card(s, i)
		d.GetArchitectureFunc = func() (nvml.DeviceArchitecture, nvml.Return) { return nvml.DEVICE_ARCH_HOPPER, nvml.SUCCESS }
		d.GetConfComputeGpuAttestationReportFunc = func(r *nvml.ConfComputeGpuAttestationReport) nvml.Return {
			r.AttestationReportSize = uint32(copy(r.AttestationReport[:], string(r.Nonce[:])+d.PciBusID))
			return nvml.SUCCESS
		}
		d.GetConfComputeGpuCertificateFunc = func() (nvml.ConfComputeGpuCertificate, nvml.Return) {
			var c nvml.ConfComputeGpuCertificate
			c.AttestationCertChainSize = uint32(copy(c.AttestationCertChain[:], chainText+"\x00"))
			c.CertChainSize = uint32(copy(c.CertChain[:], "another chain, of the session"))
			return c, nvml.SUCCESS
		}
	}
	return s
}

func TestEveryCardReportsOverTheCallersNonce(t *testing.T) {
	nonce := [32]byte{7, 31: 9}
	s := reporting()
	card(s, 1).GetArchitectureFunc = func() (nvml.DeviceArchitecture, nvml.Return) { return nvml.DEVICE_ARCH_BLACKWELL, nvml.SUCCESS }
	list, err := over(s).Reports(nonce)
	if err != nil || len(list) != 8 {
		t.Fatalf("%d reports, %v", len(list), err)
	}
	for i, r := range list {
		if want := string(nonce[:]) + card(s, i).PciBusID; string(r.Report) != want || string(r.Chain) != chainText {
			t.Errorf("card %d: report %q, chain %q", i, r.Report, r.Chain)
		}
		if r.UUID != card(s, i).UUID || !strings.HasSuffix(r.BusID, card(s, i).PciBusID) {
			t.Errorf("card %d is %s at %s", i, r.UUID, r.BusID)
		}
	}
	if list[0].Generation != gpu.Hopper || list[1].Generation != gpu.Blackwell {
		t.Errorf("generations %s, %s", list[0].Generation, list[1].Generation)
	}
}

func TestOneCardThatCantReportFailsTheCall(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*dgxa100.Server, *dgxa100.Device)
		want   string
	}{
		"an old driver":           {func(s *dgxa100.Server, _ *dgxa100.Device) { lacking(s, symReport) }, "lacks " + symReport},
		"a driver without chains": {func(s *dgxa100.Server, _ *dgxa100.Device) { lacking(s, symChain) }, "lacks " + symChain},
		"a lost card": {func(s *dgxa100.Server, _ *dgxa100.Device) {
			s.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
				if i == 3 {
					return nil, nvml.ERROR_GPU_IS_LOST
				}
				return s.Devices[i], nvml.SUCCESS
			}
		}, "7 of 8 cards"},
		"a count that fails": {func(s *dgxa100.Server, _ *dgxa100.Device) {
			s.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_UNKNOWN }
		}, "count cards"},
		"no address": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) { return nvml.PciInfo{}, nvml.ERROR_GPU_IS_LOST }
		}, "card 3: PCI address"},
		"an architecture without reports": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetArchitectureFunc = func() (nvml.DeviceArchitecture, nvml.Return) { return nvml.DEVICE_ARCH_AMPERE, nvml.SUCCESS }
		}, "neither Hopper nor Blackwell"},
		"an architecture that can't be read": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetArchitectureFunc = func() (nvml.DeviceArchitecture, nvml.Return) { return 0, nvml.ERROR_UNKNOWN }
		}, "card 3: architecture"},
		"no confidential mode": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetConfComputeGpuAttestationReportFunc = func(*nvml.ConfComputeGpuAttestationReport) nvml.Return { return nvml.ERROR_NOT_SUPPORTED }
		}, "confidential mode"},
		"another nonce": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetConfComputeGpuAttestationReportFunc = func(r *nvml.ConfComputeGpuAttestationReport) nvml.Return {
				r.Nonce, r.AttestationReportSize = [32]byte{}, 1
				return nvml.SUCCESS
			}
		}, "another nonce"},
		"an empty report": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetConfComputeGpuAttestationReportFunc = func(*nvml.ConfComputeGpuAttestationReport) nvml.Return { return nvml.SUCCESS }
		}, "says 0 bytes"},
		"a report beyond its buffer": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetConfComputeGpuAttestationReportFunc = func(r *nvml.ConfComputeGpuAttestationReport) nvml.Return {
				r.AttestationReportSize = uint32(len(r.AttestationReport)) + 1
				return nvml.SUCCESS
			}
		}, "says 8193 bytes"},
		"no chain": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetConfComputeGpuCertificateFunc = func() (nvml.ConfComputeGpuCertificate, nvml.Return) {
				return nvml.ConfComputeGpuCertificate{}, nvml.ERROR_UNKNOWN
			}
		}, "card 3: certificate chain"},
		"a chain beyond its buffer": {func(_ *dgxa100.Server, d *dgxa100.Device) {
			d.GetConfComputeGpuCertificateFunc = func() (nvml.ConfComputeGpuCertificate, nvml.Return) {
				return nvml.ConfComputeGpuCertificate{AttestationCertChainSize: 1 << 31}, nvml.SUCCESS
			}
		}, "bytes, there is room for 5120"},
	} {
		s := reporting()
		c.change(s, card(s, 3))
		if list, err := over(s).Reports([32]byte{1}); err == nil || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%s: %d reports, error %v; want %q in it", name, len(list), err, c.want)
		}
	}
}

func TestAHostWithoutDriverReportsNothing(t *testing.T) {
	if list, err := New().Reports([32]byte{}); len(list) > 0 || err != nil && !errors.Is(err, gpu.ErrNoNVML) {
		t.Errorf("%d reports, %v", len(list), err)
	}
}
