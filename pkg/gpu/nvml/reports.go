//go:build cgo && linux

package nvml

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Reports implements gpu.NVMLReporter.
func (l *Library) Reports(nonce [32]byte) ([]gpu.NVMLReport, error) {
	if err := l.load(); err != nil {
		return nil, err
	}
	for _, symbol := range []string{symReport, symChain, symArchitecture} {
		if !l.has(symbol) {
			return nil, fmt.Errorf("the driver's library lacks %s: confidential computing needs a newer one", symbol)
		}
	}
	n, ret := l.api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nil, failed("count cards", ret)
	}
	handles, err := l.handles()
	if err != nil {
		return nil, err
	}
	if len(handles) != n {
		return nil, fmt.Errorf("%d of %d cards can be opened: all have to report", len(handles), n)
	}
	var list []gpu.NVMLReport
	for i, h := range handles {
		r, err := report(h, nonce)
		if err != nil {
			return nil, fmt.Errorf("card %d: %w", i, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// report has one card report.
func report(h nvml.Device, nonce [32]byte) (gpu.NVMLReport, error) {
	var r gpu.NVMLReport
	info, ret := h.GetPciInfo()
	if ret != nvml.SUCCESS {
		return r, failed("PCI address", ret)
	}
	r.BusID = busID(info)
	if r.UUID, ret = h.GetUUID(); ret != nvml.SUCCESS {
		return r, failed("UUID", ret)
	}
	var err error
	if r.Generation, err = generation(h); err != nil {
		return r, err
	}
	answer := nvml.ConfComputeGpuAttestationReport{Nonce: nonce}
	if ret := h.GetConfComputeGpuAttestationReport(&answer); ret != nvml.SUCCESS {
		return r, notConfidential("attestation report", ret)
	}
	if answer.Nonce != nonce {
		return r, errors.New("attestation report: the driver answers another nonce")
	}
	if r.Report, err = filled("attestation report", answer.AttestationReport[:], answer.AttestationReportSize); err != nil {
		return r, err
	}
	certs, ret := h.GetConfComputeGpuCertificate()
	if ret != nvml.SUCCESS {
		return r, notConfidential("certificate chain", ret)
	}
	r.Chain, err = filled("certificate chain", certs.AttestationCertChain[:], certs.AttestationCertChainSize)
	// Drivers count the NUL that ends the text or don't.
	r.Chain = bytes.TrimSuffix(r.Chain, []byte{0})
	return r, err
}

// generation is that of cards which can report.
func generation(h nvml.Device) (gpu.Generation, error) {
	switch arch, ret := h.GetArchitecture(); {
	case ret != nvml.SUCCESS:
		return "", failed("architecture", ret)
	case arch == nvml.DEVICE_ARCH_HOPPER:
		return gpu.Hopper, nil
	case arch == nvml.DEVICE_ARCH_BLACKWELL:
		return gpu.Blackwell, nil
	default:
		return "", fmt.Errorf("architecture %d is neither Hopper nor Blackwell: it makes no reports that are known here", arch)
	}
}

// filled is the part of a buffer that the driver says it has filled. A size of
// none, or beyond the buffer, is the driver's mistake and no report.
func filled(what string, buffer []uint8, size uint32) ([]byte, error) {
	if size == 0 || uint64(size) > uint64(len(buffer)) {
		return nil, fmt.Errorf("%s: the driver says %d bytes, there is room for %d", what, size, len(buffer))
	}
	return bytes.Clone(buffer[:size]), nil
}

func notConfidential(what string, ret nvml.Return) error {
	if ret == nvml.ERROR_NOT_SUPPORTED {
		return fmt.Errorf("%s: the card makes none: is it in a confidential mode?", what)
	}
	return failed(what, ret)
}
