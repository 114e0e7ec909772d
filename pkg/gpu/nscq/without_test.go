//go:build !cgo || !linux

package nscq

import (
	"errors"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

func TestABuildWithoutNSCQSaysSo(t *testing.T) {
	_, err := New(Name).Reports([32]byte{})
	if !errors.Is(err, gpu.ErrNoNSCQ) || !strings.Contains(err.Error(), "CGO_ENABLED=1") || BuiltIn {
		t.Errorf("error %v", err)
	}
}
