package netns

import (
	"errors"
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

// leastSteps is in how many steps something is killed at least. Which ones they
// are differs: a step may be over before what was killed in the one before is back.
// Every step has its turn in the end-to-end tests, and every commit and effect in
// the simulator's crash points.
const leastSteps = 3

func TestUpdatesGoOnWhenDaemonsAreKilledInEveryStep(t *testing.T) {
	t.Parallel()
	f := start(t, "8xH200", "none")
	web := f.deploy(t, "web", dev.HostName(1))
	model := f.deploy(t, "model", "")
	for what, disturb := range map[string]func() error{
		"coordinator": f.restartCoordinator, "agents": f.restartAgents,
	} {
		t.Run("blue-green, "+what, func(t *testing.T) {
			f.allReady(t)
			tag := map[string]string{"coordinator": "v1.1.0", "agents": "v1.3.0"}[what]
			u, seen := f.atEveryStep(t, f.begin(t, "web", tag, dev.HostName(1)), disturb)
			succeeded(t, u)
			want(t, u, cv1.Strategy_STRATEGY_BLUE_GREEN, seen)
			f.container(t, "web", running(tag))
			unharmed(t, web)
		})
		t.Run("replace, "+what, func(t *testing.T) {
			f.allReady(t)
			tag := map[string]string{"coordinator": "v1.1.0", "agents": "v1.3.0"}[what]
			u, seen := f.atEveryStep(t, f.begin(t, "model", tag, ""), disturb)
			succeeded(t, u)
			want(t, u, cv1.Strategy_STRATEGY_REPLACE, seen)
			f.container(t, "model", running(tag))
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

func want(t *testing.T, u *cv1.Update, s cv1.Strategy, seen map[cv1.UpdateStep]bool) {
	t.Helper()
	if u.GetStrategy() != s {
		t.Errorf("the strategy was %s, want %s: %s", u.GetStrategy(), s, u.GetPlan().GetReason())
	}
	if len(seen) < leastSteps {
		t.Errorf("something was killed in %v only, want %d steps at least", seen, leastSteps)
	}
	t.Logf("killed in %d steps: %v", len(seen), seen)
}

func anything(*cv1.Container) string { return "" }
