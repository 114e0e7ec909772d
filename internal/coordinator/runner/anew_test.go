package runner

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// becomes has another machine take every host's name.
func (h *hosts) becomes(incarnation string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.incarnation = incarnation
}

// asked is how often a call was made.
func (h *hosts) asked(what string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls[what]
}

func TestWordOfAHostBeforeItWasSetUpAnewIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		active := *r.state().Container.Active
		r.hosts.becomes("second")
		died := model.Observation{Enclave: active.ID, Host: active.Host, State: model.EnclaveFailed, Incarnation: "first"}
		r.runner.Observed(api, died)
		r.pass(time.Second)
		r.wants(model.Running, "v1", model.Succeeded)
		died.Incarnation = "second"
		r.runner.Observed(api, died)
		r.pass(time.Second)
		if c := r.state().Container; c.Active != nil && c.Active.ID == active.ID {
			t.Errorf("%s still serves, whose host says that it died", active.ID)
		}
	})
}

func TestWhatWasAskedOfAHostBeforeItWasSetUpAnewIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		active := *r.state().Container.Active
		r.hosts.mu.Lock()
		r.hosts.silent["Stop"] = true
		r.hosts.mu.Unlock()
		if err := r.ask(engine.Stop{Kind: model.TeardownStop}); err != nil {
			t.Fatal(err)
		}
		r.pass(10 * time.Second)
		asked := r.hosts.asked("Stop")
		r.hosts.becomes("second")
		r.runner.post(api, engine.Observed{Observation: model.Observation{
			Enclave: active.ID, Host: active.Host, State: model.EnclaveStopped, Incarnation: "first",
		}})
		r.pass(time.Second)
		if got := r.hosts.asked("Stop"); got != asked+1 {
			t.Errorf("the host is told to stop %s %d times, and then %d times, want once more", active.ID, asked, got)
		}
		if c := r.state().Container; c.Status != model.Stopping {
			t.Errorf("the container is %s, want it STOPPING until the host that is has answered", c.Status)
		}
	})
}
