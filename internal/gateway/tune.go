package gateway

import (
	"os"
	"runtime/debug"
)

// A gateway's heap is small and lives as long as its connections: with the
// default settings it would be collected every thousand connections.
const (
	gcPercent   = 400
	memoryLimit = 1 << 30 // soft: collections come sooner as the heap gets near
)

// TuneRuntime sets the garbage collector for a process that is a gateway and
// nothing else. GOGC and GOMEMLIMIT in the environment take precedence.
func TuneRuntime() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
