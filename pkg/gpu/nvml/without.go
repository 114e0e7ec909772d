//go:build !cgo || !linux

package nvml

import (
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// BuiltIn says whether this program can load NVML.
const BuiltIn = false

// Library stands for NVML in a program that was built without it.
type Library struct{}

// New returns a Library all of whose calls give gpu.ErrNoNVML.
func New() *Library { return &Library{} }

var errBuild = fmt.Errorf("%w: this program was built without NVML; use a build with CGO_ENABLED=1", gpu.ErrNoNVML)

// Devices implements gpu.NVML.
func (*Library) Devices() ([]gpu.NVMLDevice, error) { return nil, errBuild }

// Reports implements gpu.NVMLReporter.
func (*Library) Reports([32]byte) ([]gpu.NVMLReport, error) { return nil, errBuild }

// WaitXid implements gpu.NVML.
func (*Library) WaitXid(time.Duration) (gpu.NVMLXid, bool, error) {
	return gpu.NVMLXid{}, false, errBuild
}
