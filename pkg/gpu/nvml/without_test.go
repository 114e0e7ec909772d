//go:build !cgo || !linux

package nvml

import (
	"errors"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

func TestABuildWithoutNVMLSaysSo(t *testing.T) {
	_, err := New().Devices()
	_, _, wait := New().WaitXid(0)
	for _, err := range []error{err, wait} {
		if !errors.Is(err, gpu.ErrNoNVML) || !strings.Contains(err.Error(), "built without NVML") || BuiltIn {
			t.Errorf("error %v", err)
		}
	}
}
