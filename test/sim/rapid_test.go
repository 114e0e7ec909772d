package sim

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawnActions are the actions of a plot as rapid draws them: fewer than those of
// generate, and with a liking for small and for extreme values.
var drawnActions = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action {
	kind := 0
	for range 6 {
		kind *= 2
		// Rapid draws nothing else evenly: the last kinds would hardly be met.
		if rapid.Bool().Draw(t, "bit") {
			kind++
		}
	}
	return action{
		uint8(kind % len(kinds)), rapid.Uint8().Draw(t, "A"), rapid.Uint8().Draw(t, "B"), rapid.Uint8().Draw(t, "pass"),
	}
}), 10, 40)

// TestInvariantsHold plays plots that rapid draws, for SIM_FOR or 10 seconds, and
// shrinks the one that violates an invariant.
func TestInvariantsHold(t *testing.T) {
	limit := playedFor(t, 10*time.Second)
	began, failed := time.Now(), false
	rapid.Check(t, func(t *rapid.T) {
		p := plot{seed: rapid.Uint64().Draw(t, "seed"), actions: drawnActions.Draw(t, "actions"), verbose: true}
		if time.Since(began) > limit && !failed {
			return
		}
		rapid.SyncTest(t, func(t *rapid.T) {
			out, err := playIn(p, "")
			if err != nil {
				t.Fatalf("play: %v", err)
			}
			if v := out.violation; v != nil {
				failed = true
				for _, a := range p.actions {
					if a != (action{}) {
						t.Log(a.words())
					}
				}
				t.Log(strings.Join(out.trace, "\n"))
				// Rapid takes it for the same failure if the text is the same.
				t.Fatalf("%s is violated", v.invariant)
			}
		})
	})
}
