package runner

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func TestWhatDiedIsNotGivenUpWhileHostsHaveYetToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		r.hosts.mu.Lock()
		r.hosts.faults["Replan"] = slices.Repeat([]error{errLost}, 40) // some three minutes
		r.hosts.mu.Unlock()
		active := *r.state().Container.Active
		r.runner.Observed(api, model.Observation{Enclave: active.ID, Host: active.Host, State: model.EnclaveFailed})
		r.pass(time.Minute)
		if c := r.state().Container; c.Status != model.Deploying || c.Restart == nil || c.Restart.Attempts != 1 {
			t.Errorf("the container is %s (%s) with %+v, want it to wait in its first attempt", c.Status, c.Text, c.Restart)
		}
		r.pass(10 * time.Minute)
		if c := r.state().Container; c.Status != model.Running || c.Active == nil || c.Active.Host != r.hosts.moved {
			t.Errorf("the container is %s (%s), want it to run on %s once that has answered", c.Status, c.Text, r.hosts.moved)
		}
	})
}
