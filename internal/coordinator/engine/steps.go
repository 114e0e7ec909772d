package engine

import (
	"slices"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// Steps returns the steps of an update that the engine's table has, sorted by
// name. A test that goes through them finds one that is new.
func Steps() []model.Step {
	out := make([]model.Step, 0, len(rules))
	for step := range rules {
		out = append(out, step)
	}
	slices.Sort(out)
	return out
}
