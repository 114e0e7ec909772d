package coordinator

import (
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
)

func TestTheEngineGetsItsDefaultsFromAFileThatSaysNothing(t *testing.T) {
	var c Config
	c.SetDefaults()
	if got, want := c.engineLimits(), engine.DefaultLimits(); got != want {
		t.Errorf("limits are %+v, want %+v", got, want)
	}
}
