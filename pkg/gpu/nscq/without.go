//go:build !cgo || !linux

package nscq

import (
	"fmt"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// BuiltIn says whether this program can load NSCQ.
const BuiltIn = false

// Library stands for NSCQ in a program that was built without it.
type Library struct{}

// New returns a Library whose calls give gpu.ErrNoNSCQ.
func New(string) *Library { return &Library{} }

// Reports implements gpu.NVSwitchReporter.
func (*Library) Reports([32]byte) ([]gpu.NVSwitchReport, error) {
	return nil, fmt.Errorf("%w: this program was built without NSCQ; use a build with CGO_ENABLED=1", gpu.ErrNoNSCQ)
}
