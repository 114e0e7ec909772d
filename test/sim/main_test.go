package sim

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
)

// A run makes much garbage and keeps little: collecting it less often makes the
// simulator a third faster.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	code := m.Run()
	if soaked != "" {
		fmt.Println(soaked)
	}
	os.Exit(code)
}
