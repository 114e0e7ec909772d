// Package nvml answers gpu.NVML and gpu.NVMLReporter from NVIDIA's management library, which it
// loads at run time. It needs cgo; built without, every call says so.
//
// Calls may hang with the driver: package gpu gives each a deadline.
package nvml

import "github.com/casemate-dev/casemate/pkg/gpu"

var (
	_ gpu.NVML         = (*Library)(nil)
	_ gpu.NVMLReporter = (*Library)(nil)
)
