package gateway

import (
	"runtime/debug"
	"testing"
)

func TestEnvironmentTakesPrecedenceOverTuning(t *testing.T) {
	before := debug.SetGCPercent(77)
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(limit)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "77")
	t.Setenv("GOMEMLIMIT", "")
	TuneRuntime()
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("GOGC=77 was overridden with %d", got)
	}
	if got := debug.SetMemoryLimit(-1); got != memoryLimit {
		t.Errorf("memory limit %d, want %d", got, memoryLimit)
	}
	t.Setenv("GOGC", "")
	TuneRuntime()
	if got := debug.SetGCPercent(77); got != gcPercent {
		t.Errorf("GC percent %d, want %d", got, gcPercent)
	}
}
