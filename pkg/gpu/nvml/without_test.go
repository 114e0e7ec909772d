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
	_, reports := New().Reports([32]byte{})
	for _, err := range []error{err, wait, reports} {
		if !errors.Is(err, gpu.ErrNoNVML) || !strings.Contains(err.Error(), "built without NVML") || BuiltIn {
			t.Errorf("error %v", err)
		}
	}
}
