//go:build cgo && linux

package nscq

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Paths of nscq_attestation_path.h. The first two answer for every switch, the others
// stand behind a switch's label.
const (
	pathUUIDs         = "/drv/nvswitch/{device}/uuid"
	pathArchitectures = "/{nvswitch}/id/arch"
	pathMode          = "/config/pcie_mode"
	pathReport        = "/config/attestation_report"
	pathChain         = "/config/certificate"
)

// Values of nscq_arch_t and nscq_tnvl_status_t.
const (
	archLS10   = 2
	modeLocked = 3 // TNVL is on, bit 0, and can't be switched off any more, bit 1
)

// modes are the names of the others.
var modes = map[int8]string{-1: "unknown", 0: "disabled", 1: "enabled", 2: "failed"}

// session is one life of the library's view of the switches. Those that come later are
// in the next.
type session struct {
	api    *native
	handle unsafe.Pointer
}

func open(api *native) (*session, error) {
	handle, c := api.create()
	s := &session{api, handle}
	switch {
	case c == 0 && handle == nil:
		return nil, errors.New("make a session: NSCQ gives none")
	case c == 0:
		return s, nil
	}
	s.close()
	err := failed("make a session", c)
	if c == codeRDT || c == codeUnsupported {
		err = fmt.Errorf("%w: the library and the driver are of different versions: %w", gpu.ErrNoNSCQ, err)
	}
	return nil, err
}

func (s *session) close() {
	if s.handle != nil {
		s.api.destroy(s.handle)
	}
}

func (s *session) reports(nonce [32]byte) ([]gpu.NVSwitchReport, error) {
	kept, free := s.api.keep(nonce)
	defer free()
	labels, err := s.labels()
	if err != nil {
		return nil, err
	}
	if err := s.checkArchitectures(len(labels)); err != nil {
		return nil, fmt.Errorf("architectures: %w", err)
	}
	var list []gpu.NVSwitchReport
	for _, label := range labels {
		r, err := s.report(label, kept)
		if err != nil {
			return nil, fmt.Errorf("switch %s: %w", label, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// labels lists the switches by the names that stand for them in paths.
func (s *session) labels() ([]string, error) {
	uuids, o := s.api.uuids(s.handle, pathUUIDs)
	if err := o.failure("list switches"); err != nil {
		return nil, err
	}
	switch {
	case o.calls == 0:
		return nil, errors.New("list switches: there is none: are they given to this machine, and does the nvidia driver hold them (/dev/nvidia-nvswitch0)?")
	case o.calls > maxSwitches:
		return nil, fmt.Errorf("list switches: NSCQ names %d; a board has at most %d", o.calls, maxSwitches)
	}
	var labels []string
	for _, uuid := range uuids[:o.calls] {
		raw, c := s.api.label(uuid)
		if c != 0 {
			return nil, failed("name a switch", c)
		}
		label, err := readLabel(raw[:])
		if err != nil {
			return nil, err
		}
		labels = append(labels, label)
	}
	return labels, nil
}

// readLabel reads a C string that is to stand in a path, where braces and slashes
// would mean something.
func readLabel(raw []byte) (string, error) {
	text, _, ended := bytes.Cut(raw, []byte{0})
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
	if !ended || len(text) == 0 || strings.Trim(string(text), alphabet) != "" {
		return "", fmt.Errorf("name a switch: NSCQ calls it %q, want letters, digits and dashes", text)
	}
	return string(text), nil
}

func (s *session) checkArchitectures(switches int) error {
	found, err := s.values(pathArchitectures, switches)
	if err != nil {
		return err
	}
	for i, arch := range found {
		if arch != archLS10 {
			return fmt.Errorf("that of switch %d of %d is %d, not LS10's %d: it makes no reports that are known here", i+1, switches, arch, archLS10)
		}
	}
	return nil
}

// report has one switch report over the nonce.
func (s *session) report(label string, nonce unsafe.Pointer) (gpu.NVSwitchReport, error) {
	r := gpu.NVSwitchReport{UUID: label}
	if err := s.checkMode(label); err != nil {
		return r, fmt.Errorf("mode: %w", err)
	}
	if c := s.api.setNonce(s.handle, nonce); c != 0 {
		return r, failed("hand over the nonce", c)
	}
	var err error
	if r.Report, err = filled(s.api.report(s.handle, "/"+label+pathReport)); err != nil {
		return r, fmt.Errorf("attestation report: %w", err)
	}
	if r.Chain, err = filled(s.api.chain(s.handle, "/"+label+pathChain)); err != nil {
		return r, fmt.Errorf("certificate chain: %w", err)
	}
	// NVML counts the NUL that ends the text or doesn't, and so may NSCQ.
	r.Chain = bytes.TrimSuffix(r.Chain, []byte{0})
	return r, nil
}

// checkMode wants the mode in which NVIDIA's own verifier wants a switch to be: it
// stands in no report.
func (s *session) checkMode(label string) error {
	found, err := s.values("/"+label+pathMode, 1)
	if err != nil || found[0] == modeLocked {
		return err
	}
	name, known := modes[found[0]]
	if !known {
		name = fmt.Sprint(found[0])
	}
	return fmt.Errorf("it is %s, not locked: is the board in protected PCIe mode, and does the fabric manager run?", name)
}

// values observes a path that has one small number of each of so many switches.
func (s *session) values(path string, switches int) ([]int8, error) {
	found, o := s.api.values(s.handle, path)
	if err := o.failure("ask"); err != nil {
		return nil, err
	}
	if o.calls != switches {
		return nil, fmt.Errorf("NSCQ answers for %d switches, want %d", o.calls, switches)
	}
	return found[:switches], nil
}

// filled is the part of a buffer that the library says it has filled. A size of none,
// or beyond the buffer, is its mistake and no answer.
func filled(buffer []byte, size uint32, o observed) ([]byte, error) {
	if err := o.failure("ask"); err != nil {
		return nil, err
	}
	switch {
	case o.calls != 1:
		return nil, fmt.Errorf("NSCQ answers %d times, want once", o.calls)
	case size == 0 || uint64(size) > uint64(len(buffer)):
		return nil, fmt.Errorf("NSCQ says %d bytes, there is room for %d", size, len(buffer))
	}
	return buffer[:size:size], nil
}
