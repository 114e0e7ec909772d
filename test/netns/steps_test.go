package netns

import (
	"errors"
	"maps"
	"testing"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// atEveryStep disturbs an update once in each step that is seen, and returns
// the steps.
func (f *fleet) atEveryStep(t *testing.T, u *cv1.Update, disturb func() error) (*cv1.Update, map[cv1.UpdateStep]bool) {
	t.Helper()
	seen := map[cv1.UpdateStep]bool{}
	for {
		u = f.follow(t, u, func(u *cv1.Update) bool { return dev.Ended(u) || !seen[u.GetStep()] })
		if dev.Ended(u) {
			return u, seen
		}
		seen[u.GetStep()] = true
		if err := disturb(); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fleet) restartCoordinator() error {
	return errors.Join(f.Coordinator.Kill(), f.StartCoordinator())
}

func (f *fleet) restartAgents() error {
	var errs []error
	for n := range f.Agents {
		errs = append(errs, f.Agents[n].Kill(), f.StartAgent(n))
	}
	return errors.Join(errs...)
}

// leastSteps is in how many steps something is killed at least, mostUpdates in how
// many updates. Which ones they are differs: a step may be over before what was
// killed in the one before is back. Every step has its turn in the end-to-end tests,
// and every commit and effect in the simulator's crash points.
const leastSteps, mostUpdates = 3, 6

// updateWhile updates a container to the tag that does not serve and disturbs that
// in each step that is seen, until it was disturbed in enough of them.
func (f *fleet) updateWhile(t *testing.T, name, host string, s cv1.Strategy, disturb func() error) {
	t.Helper()
	seen := map[cv1.UpdateStep]bool{}
	for range mostUpdates {
		f.allReady(t)
		tag := "v1.1.0"
		if f.container(t, name, anything).GetActiveTag() == tag {
			tag = "v1.3.0"
		}
		u, steps := f.atEveryStep(t, f.begin(t, name, tag, host), disturb)
		succeeded(t, u)
		if u.GetStrategy() != s {
			t.Errorf("the strategy was %s, want %s: %s", u.GetStrategy(), s, u.GetPlan().GetReason())
		}
		f.container(t, name, running(tag))
		if maps.Copy(seen, steps); len(seen) >= leastSteps {
			t.Logf("killed in %d steps: %v", len(seen), seen)
			return
		}
	}
	t.Errorf("in %d updates something was killed in %v only, want %d steps at least", mostUpdates, seen, leastSteps)
}

func TestUpdatesGoOnWhenDaemonsAreKilledInEveryStep(t *testing.T) {
	t.Parallel()
	f := start(t, "8xH200", "none")
	web := f.deploy(t, "web", dev.HostName(1))
	model := f.deploy(t, "model", "")
	for what, disturb := range map[string]func() error{
		"coordinator": f.restartCoordinator, "agents": f.restartAgents,
	} {
		t.Run("blue-green, "+what, func(t *testing.T) {
			f.updateWhile(t, "web", dev.HostName(1), cv1.Strategy_STRATEGY_BLUE_GREEN, disturb)
			unharmed(t, web)
		})
		t.Run("replace, "+what, func(t *testing.T) {
			f.updateWhile(t, "model", "", cv1.Strategy_STRATEGY_REPLACE, disturb)
			if err := model.AwaitAnswer(bounded(t)); err != nil {
				t.Error(err)
			}
			t.Logf("clients of the replaced container: %+v", model.Take())
			unharmed(t, web) // a neighbour notices nothing
		})
	}
	f.allReady(t)
	f.onlyRuns(t, f.container(t, "web", anything).GetActiveEnclave(), f.container(t, "model", anything).GetActiveEnclave())
}

func anything(*cv1.Container) string { return "" }
