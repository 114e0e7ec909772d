package tsm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	sevabi "github.com/google/go-sev-guest/client/linuxabi"
	tdxabi "github.com/google/go-tdx-guest/client/linuxabi"
	"golang.org/x/sys/unix"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// The device files of kernels before configfs-tsm (6.7).
const (
	sevDevice = "dev/sev-guest"
	tdxDevice = "dev/tdx_guest"
)

// ioctl calls a device. The kernel's answer lies where arg points.
type ioctl func(path string, command uintptr, arg unsafe.Pointer) error

// openDevices looks which device file is there.
func openDevices(root string) (attest.Format, reader, error) {
	if root == "" {
		root = "/"
	}
	for _, d := range []struct {
		path   string
		format attest.Format
		read   func(ioctl, string, [64]byte) ([]byte, []byte, error)
	}{{sevDevice, attest.FormatSEVSNP, readSEV}, {tdxDevice, attest.FormatTDX, readTDX}} {
		path := filepath.Join(root, d.path)
		switch _, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", nil, fmt.Errorf("look for /%s: %w", d.path, err)
		default:
			return d.format, func(data [64]byte) ([]byte, []byte, error) { return d.read(call, path, data) }, nil
		}
	}
	return "", nil, ErrNoTEE
}

// call opens the device for one call.
func call(path string, command uintptr, arg unsafe.Pointer) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), command, uintptr(arg)); errno != 0 {
		return fmt.Errorf("ioctl %#x: %w", command, errno)
	}
	return nil
}

// certBuffer is room for the host's certificates: whole pages, as the kernel wants.
const certBuffer = 16 << 10

// readSEV asks for a report with the host's certificates, and for one without if the
// host gives none in that way.
func readSEV(do ioctl, path string, data [64]byte) ([]byte, []byte, error) {
	certificates := make([]byte, certBuffer)
	raw, err := sevRequest(do, path, sevabi.IocSnpGetExtendedReport, &sevabi.SnpExtendedReportReq{
		Data: sevabi.SnpReportReqABI{ReportData: data}, Certs: certificates, CertsLength: certBuffer,
	})
	if err == nil {
		return raw, certificates, nil
	}
	raw, plainErr := sevRequest(do, path, sevabi.IocSnpGetReport, &sevabi.SnpReportReqABI{ReportData: data})
	if plainErr != nil {
		return nil, nil, errors.Join(plainErr, err)
	}
	return raw, nil, nil
}

func sevRequest(do ioctl, path string, command uintptr, request sevabi.BinaryConvertible) ([]byte, error) {
	var answer sevabi.SnpReportRespABI
	message := &sevabi.SnpUserGuestRequest{ReqData: request, RespData: &answer}
	raw := message.ABI()
	if err := do(path, command, raw.Pointer()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := raw.Finish(message); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if message.FwErr != 0 {
		return nil, fmt.Errorf("%s: the firmware ended with %#x", path, message.FwErr)
	}
	return answer.Data[:sevsnp.ReportSize:sevsnp.ReportSize], nil
}

// readTDX asks the module for a report and the host's quoting service for its quote.
func readTDX(do ioctl, path string, data [64]byte) ([]byte, []byte, error) {
	request := &tdxabi.TdxReportReq{ReportData: data}
	if err := do(path, tdxabi.IocTdxGetReport, unsafe.Pointer(request)); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	header := &tdxabi.TdxQuoteHdr{Version: 1, InLen: tdxabi.TdReportSize}
	copy(header.Data[:], request.TdReport[:])
	quote := &tdxabi.TdxQuoteReq{Buffer: header, Length: tdxabi.ReqBufSize}
	raw := quote.ABI()
	if err := do(path, tdxabi.IocTdxGetQuote, raw.Pointer()); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case header.Status != tdxabi.GetQuoteSuccess:
		return nil, nil, fmt.Errorf("%s: the host's quoting service ended with %#x", path, header.Status)
	case header.OutLen == 0 || int(header.OutLen) > len(header.Data):
		return nil, nil, fmt.Errorf("%s: the host says that the quote has %d bytes", path, header.OutLen)
	}
	return header.Data[:header.OutLen:header.OutLen], nil, nil
}
