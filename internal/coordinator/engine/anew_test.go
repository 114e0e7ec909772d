package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func TestACandidateIsCreatedAgainOnAHostThatWasSetUpAnew(t *testing.T) {
	w := deployed(t)
	w.mute["Create"] = true
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	u := w.state.Update
	if u.Step != model.StepBoot {
		t.Fatalf("the update is in %s, want it in BOOT", u.Step)
	}
	w.mute["Create"] = false
	absent := model.Observation{Enclave: u.New.ID, Host: u.New.Host, State: model.EnclaveAbsent}
	for _, absent.Anew = range []bool{false, true} {
		if err := w.send(Observed{absent}); err != nil {
			t.Fatal(err)
		}
		if created := slices.Contains(w.ever, u.New.ID); created != absent.Anew {
			t.Errorf("created again: %v, of a host that was set up anew: %v", created, absent.Anew)
		}
	}
	w.settle()
	if a := w.state.Container.Active; a == nil || a.ID != u.New.ID {
		t.Errorf("%+v serves, want %s", a, u.New.ID)
	}
}

func TestWhatWasLostWithAMachineIsToldFromWhatALaterOneLost(t *testing.T) {
	for reason, began := range map[string]time.Duration{"HOST_SET_UP_ANEW": time.Minute, "ENCLAVE_LOST": -time.Minute} {
		w := deployed(t)
		a := *w.state.Container.Active
		o := model.Observation{Enclave: a.ID, Host: a.Host, State: model.EnclaveAbsent, Anew: true, Since: a.Since.Add(began)}
		if err := w.send(Observed{o}); err != nil {
			t.Fatal(err)
		}
		if c := w.state.Container; c.Active != nil || c.Reason != reason {
			t.Errorf("set up anew %s after it began to serve: %+v serves, reason %s, want none and %s", began, c.Active, c.Reason, reason)
		}
	}
}
