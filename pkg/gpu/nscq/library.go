//go:build cgo && linux

package nscq

import (
	"fmt"
	"sync"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// BuiltIn says whether this program can load NSCQ.
const BuiltIn = true

// Library is NSCQ. It loads the library's file at the first call, and tries again at
// the next if that failed, so that a driver may come later. It is safe for concurrent
// use, one call at a time.
type Library struct {
	file string

	mu  sync.Mutex // held during a call: nothing says that the library's may run at once
	api *native
}

// New returns a Library of the file, which is looked for as dlopen does: Name, but for
// tests. It loads nothing yet.
func New(file string) *Library { return &Library{file: file} }

// Reports implements gpu.NVSwitchReporter. A switch that is not an LS10 in the locked
// mode of protected PCIe fails the call: no other has reports that are known here.
func (l *Library) Reports(nonce [32]byte) ([]gpu.NVSwitchReport, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.api == nil {
		api, why := loadNative(l.file)
		if why != "" {
			return nil, fmt.Errorf("%w: %s", gpu.ErrNoNSCQ, why)
		}
		l.api = api
	}
	s, err := open(l.api)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.reports(nonce)
}

// Codes by which making a session tells that the library is not for this driver.
const (
	codeRDT         code = 1
	codeUnsupported code = -6
)

// codes are the names of nscq_rc_t's values.
var codes = map[code]string{
	codeRDT: "warning: RDT initialisation failed",
	-1:      "not implemented", -2: "invalid UUID", -3: "resource not mountable", -4: "overflow", -5: "unexpected value",
	codeUnsupported: "unsupported driver", -7: "driver error", -8: "timeout", -127: "external error", -128: "unspecified",
}

// failed makes an error of a code that is no success. Warnings fail too, as in
// NVIDIA's own SDK: half an answer is none.
func failed(what string, c code) error {
	name, known := codes[c]
	if !known {
		name = "unknown"
	}
	return fmt.Errorf("%s: NSCQ code %d (%s)", what, c, name)
}

// failure is what went wrong, told to the caller or to its callback, or nil.
func (o observed) failure(what string) error {
	switch {
	case o.call != 0:
		return failed(what, o.call)
	case o.callback != 0:
		return failed(what, o.callback)
	}
	return nil
}
