package engine

import (
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func TestLeftoversAreBoundedAndTheOldestIsTheReapers(t *testing.T) {
	w := deployed(t)
	w.mute["Halt"] = true
	for i := range keptLeftovers + 3 {
		w.begin(model.BlueGreen, "v2", int64(i+2), model.UpdateOptions{})
		for w.state.Update.Step != model.StepHealth {
			ev := w.queue[0]
			w.queue = w.queue[1:]
			if err := w.send(ev); err != nil {
				t.Fatal(err)
			}
		}
		w.queue = nil
		if err := w.send(Cancel{ID: w.state.Update.ID}); err != nil {
			t.Fatal(err)
		}
		w.pass()
	}
	c := w.state.Container
	if len(c.Leftovers) != keptLeftovers || len(w.state.Reservations) != keptLeftovers+1 {
		t.Errorf("%d leftovers and %d reservations, expected %d and one more", len(c.Leftovers), len(w.state.Reservations), keptLeftovers)
	}
	if first := c.Leftovers[0].ID; first != EnclaveID("c1", 5, 5) {
		t.Errorf("the oldest that is remembered is %s", first)
	}
}
