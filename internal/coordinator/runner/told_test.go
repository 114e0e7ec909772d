package runner

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// states are all that an agent can say of an enclave, and its absence.
var states = []model.EnclaveState{
	model.EnclavePreparing, model.EnclaveBooting, model.EnclaveAttesting, model.EnclaveStarting, model.EnclaveHealthy,
	model.EnclaveUnhealthy, model.EnclaveStopping, model.EnclaveStopped, model.EnclaveFailed, model.EnclaveAbsent,
}

// restless are containers at rest, each with one thing that is not.
func restless() map[string]func(*engine.State) {
	return map[string]func(*engine.State){
		"at rest":           func(*engine.State) {},
		"unhealthy":         func(s *engine.State) { s.Container.Unhealthy = true },
		"another enclave":   func(s *engine.State) { s.Container.Active.ID = "x" },
		"another host":      func(s *engine.State) { s.Container.Active.Host = "x" },
		"nothing that runs": func(s *engine.State) { s.Container.Active = nil },
		"a leftover": func(s *engine.State) {
			s.Container.Leftovers = []model.EnclaveRef{{ID: "e", Host: "h1"}}
			s.Container.Active = nil
		},
		"a restart that is due": func(s *engine.State) { s.Container.Restart = &model.Restart{} },
		"being deleted": func(s *engine.State) {
			s.Container.Teardown = &model.Teardown{Kind: model.TeardownDelete, Step: model.TeardownStopEnclave}
		},
		"an update": func(s *engine.State) {
			s.Container.Update = "api-u2"
			s.Update = &model.Update{ID: "api-u2", Status: model.Pending, Step: model.StepBoot, New: model.EnclaveRef{ID: "e", Host: "h1"}}
		},
	}
}

func TestWhatIsTakenForNothingNewChangesNothing(t *testing.T) {
	taken := 0
	for name, unsettle := range restless() {
		for _, state := range states {
			s := engine.State{
				Container: &model.Container{
					Org: "acme", Name: "api", Status: model.Running, Active: &model.EnclaveRef{ID: "e", Host: "h1"},
				},
				Route: &model.Route{}, Reservations: map[string]model.Reservation{},
			}
			unsettle(&s)
			o := model.Observation{Enclave: "e", Host: "h1", State: state, Claimed: true}
			if !settled(s.Container, o) {
				continue
			}
			taken++
			res, err := (engine.Engine{Limits: engine.DefaultLimits()}).Step(s, engine.Observed{Observation: o}, time.Now())
			if err != nil || res.Changed || res.Entered || len(res.Effects) > 0 || len(res.Log) > 0 {
				t.Errorf("%s, %s: taken for nothing new, but leads to %+v, %v", name, state, res, err)
			}
		}
	}
	if taken != 1 {
		t.Errorf("%d words were taken for nothing new, want that of a healthy enclave to a container at rest only", taken)
	}
}

func TestWordsThatChangeSomethingAreTakenAfterOnesThatDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		active := *r.state().Container.Active
		say := func(state model.EnclaveState) {
			r.runner.Observed(api, model.Observation{Enclave: active.ID, Host: active.Host, State: state, Claimed: true})
			synctest.Wait()
		}
		say(model.EnclaveHealthy)
		say(model.EnclaveUnhealthy)
		if !r.state().Container.Unhealthy {
			t.Error("the container does not show that its enclave is unhealthy")
		}
		say(model.EnclaveHealthy)
		if r.state().Container.Unhealthy {
			t.Error("the container does not show that its enclave is healthy again")
		}
	})
}
