package sim

import (
	"os"
	"runtime/debug"
	"testing"
)

// A run makes much garbage and keeps little: collecting it less often makes the
// simulator a third faster.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
