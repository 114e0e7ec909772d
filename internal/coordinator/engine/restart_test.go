package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// die ends the enclave that serves.
func (w *world) die() {
	w.t.Helper()
	a := *w.state.Container.Active
	delete(w.alive, a.ID)
	if err := w.send(Observed{model.Observation{Enclave: a.ID, Host: a.Host, State: model.EnclaveFailed, Reason: "VM_EXITED", Text: "it is gone"}}); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
}

func TestAnEnclaveThatDiesIsStartedAgain(t *testing.T) {
	w := deployed(t)
	w.die()
	c := w.state.Container
	if c.Status != model.Deploying || c.Reason != "VM_EXITED" || c.Restart == nil || c.Restart.Attempts != 1 {
		t.Fatalf("container is %s (%s: %s) with %+v, want a first start scheduled", c.Status, c.Reason, c.Text, c.Restart)
	}
	if w.state.Route.State != model.RouteClosed {
		t.Errorf("route is %s while nothing serves", w.state.Route.State)
	}
	w.pass()
	w.want(model.Succeeded, model.Running, "c1-r1-2")
	if a := w.state.Container.Active; a.Host != "h2" || w.state.Update.Kind != model.KindRestart {
		t.Errorf("%s serves on %s after a %s, want a restart where the planner said", a.ID, a.Host, w.state.Update.Kind)
	}
	if w.state.Container.Spec.Tag != "v1" {
		t.Errorf("settings are those of %s", w.state.Container.Spec.Tag)
	}
}

func TestWhatDiesBetweenTheSwitchAndTheEndOfItsUpdateIsStartedAgain(t *testing.T) {
	for step, effect := range map[model.Step]string{
		model.StepSwitch: "AwaitAck", model.StepDrain: "AwaitDrain",
	} {
		t.Run(string(step), func(t *testing.T) {
			w := deployed(t)
			w.mute[effect] = true
			w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
			w.settle()
			if got := w.state.Update.Step; got != step {
				t.Fatalf("the update is in %s", got)
			}
			w.die()
			w.mute[effect] = false
			for w.state.Container.Update != "" {
				w.pass()
			}
			if c := w.state.Container; c.Status != model.Deploying || c.Reason != "VM_EXITED" || c.Restart == nil || c.Restart.At.IsZero() {
				t.Fatalf("container is %s (%s: %s) with %+v, want a start scheduled", c.Status, c.Reason, c.Text, c.Restart)
			}
			w.pass()
			w.want(model.Succeeded, model.Running, w.state.Container.Active.ID)
			if got := w.state.Container.Active; got.Revision != 2 {
				t.Errorf("revision %d serves, want 2", got.Revision)
			}
		})
	}
}

func TestRestartsBackOffAndEnd(t *testing.T) {
	w := deployed(t)
	limits := DefaultLimits()
	for attempt := range limits.Restarts {
		before := w.now
		w.die()
		if pause := w.state.Container.Restart.At.Sub(before); pause != limits.RestartPause<<attempt {
			t.Errorf("pause %d is %s, want %s", attempt+1, pause, limits.RestartPause<<attempt)
		}
		w.pass()
		if w.state.Container.Status != model.Running {
			t.Fatalf("attempt %d left it %s", attempt+1, w.state.Container.Status)
		}
	}
	w.die()
	c := w.state.Container
	if c.Status != model.Failed || !Deadline(w.state).IsZero() {
		t.Errorf("after %d restarts the container is %s with a deadline at %s, want FAILED for good", limits.Restarts, c.Status, Deadline(w.state))
	}
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	w.want(model.Succeeded, model.Running, w.state.Container.Active.ID)
	if w.state.Container.Restart != nil {
		t.Error("a person's start does not clear the count")
	}
}

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	l := Limits{RestartPause: 5 * time.Second, RestartMaxPause: time.Minute}
	for attempts, want := range map[int]time.Duration{0: 5 * time.Second, 1: 10 * time.Second, 3: 40 * time.Second, 4: time.Minute, 1000: time.Minute} {
		if got := l.restartPause(attempts); got != want {
			t.Errorf("after %d attempts the pause is %s, want %s", attempts, got, want)
		}
	}
}

func TestWithoutAttemptsNothingIsStartedAgain(t *testing.T) {
	w := deployed(t)
	w.engine.Limits.Restarts = 0
	w.die()
	c := w.state.Container
	if c.Status != model.Failed || !Deadline(w.state).IsZero() || !strings.Contains(c.Text, "starts nothing again") {
		t.Errorf("the container is %s (%s) with a deadline at %s, want FAILED for good", c.Status, c.Text, Deadline(w.state))
	}
}

func TestWhatHasServedForLongBeginsTheCountAnew(t *testing.T) {
	w := deployed(t)
	w.die()
	w.pass()
	w.now = w.now.Add(DefaultLimits().Steady + time.Second)
	w.die()
	if got := w.state.Container.Restart.Attempts; got != 1 {
		t.Errorf("attempt %d, want 1", got)
	}
}

func TestARestartThatFailsIsTriedAgain(t *testing.T) {
	w := deployed(t)
	w.answers["Place"] = func(Effect) []Event {
		return []Event{Placed{Failure: &Failure{Reason: "NO_CAPACITY", Text: "no host has room"}}}
	}
	w.die()
	w.pass()
	if r := w.state.Container.Restart; r.Attempts != 2 || w.state.Container.Reason != "NO_CAPACITY" {
		t.Errorf("%+v (%s), want a second attempt for lack of room", r, w.state.Container.Reason)
	}
	w.answers["Place"] = nil
	w.answers["Create"] = func(e Effect) []Event {
		ref := e.(Create).Enclave
		return []Event{Observed{model.Observation{Enclave: ref.ID, Host: ref.Host, State: model.EnclaveFailed, Reason: "BOOT_FAILED"}}}
	}
	w.pass()
	if r := w.state.Container.Restart; r.Attempts != 3 || w.state.Update.Status != model.UpdateFailed {
		t.Errorf("%+v after an update %s, want a third attempt", r, w.state.Update.Status)
	}
	w.answers["Create"] = nil
	w.pass()
	w.want(model.Succeeded, model.Running, w.state.Container.Active.ID)
}

func TestAPlannerThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	w := deployed(t)
	w.mute["Place"] = true
	w.die()
	w.pass()
	w.mute["Place"] = false
	w.pass()
	w.want(model.Succeeded, model.Running, w.state.Container.Active.ID)
}

func TestAStopEndsTheRestarts(t *testing.T) {
	w := deployed(t)
	w.die()
	if err := w.send(Stop{model.TeardownStop}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if c := w.state.Container; c.Status != model.Stopped || c.Restart != nil || !Deadline(w.state).IsZero() {
		t.Errorf("container is %s with %+v, want STOPPED and at rest", c.Status, c.Restart)
	}
}

func TestTheOldVersionDiesDuringAnUpdate(t *testing.T) {
	for _, tc := range []struct {
		rule     string
		strategy model.Strategy
		fails    bool
		status   model.ContainerStatus
	}{
		{"a blue-green update goes on and serves", model.BlueGreen, false, model.Running},
		{"a replace goes on and serves", model.Replace, false, model.Running},
		{"if a blue-green update fails too, the old version is started again", model.BlueGreen, true, model.Deploying},
		{"so it is if a replace fails that has stopped nothing", model.Replace, true, model.Deploying},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			w := deployed(t)
			w.mute["Prepare"] = true
			w.begin(tc.strategy, "v2", 2, model.UpdateOptions{})
			w.settle()
			w.die()
			ev := Prepared{Enclave: w.state.Update.New.ID}
			if tc.fails {
				ev.Failure = &Failure{Reason: "IMAGE_MISSING", Text: "no such image"}
			}
			w.queue = append(w.queue, ev)
			w.settle()
			if w.state.Container.Status != tc.status {
				t.Errorf("container is %s (%s), want %s", w.state.Container.Status, w.state.Container.Text, tc.status)
			}
			if tc.status == model.Deploying {
				w.mute["Prepare"] = false
				w.pass()
				w.want(model.Succeeded, model.Running, w.state.Container.Active.ID)
				if w.state.Container.Active.Revision != 1 {
					t.Errorf("revision %d was started again, want 1", w.state.Container.Active.Revision)
				}
			}
		})
	}
}

// TestAForgottenHostBlocksNothing gives up the host at every point of both
// strategies; whatever was on it, the container comes to rest.
func TestAForgottenHostBlocksNothing(t *testing.T) {
	for _, strategy := range []model.Strategy{model.BlueGreen, model.Replace} {
		for events := range 30 {
			w := deployed(t)
			w.begin(strategy, "v2", 2, model.UpdateOptions{Hold: strategy == model.BlueGreen})
			for i := 0; i < events && len(w.queue) > 0; i++ {
				ev := w.queue[0]
				w.queue = w.queue[1:]
				if err := w.send(ev); err != nil {
					t.Fatal(err)
				}
			}
			w.queue, w.alive = nil, map[string]bool{}
			for _, e := range []string{"Halt", "Prepare", "Create", "Verify", "AwaitFree"} {
				w.mute[e] = true
			}
			if err := w.send(HostGone{"h1"}); err != nil {
				t.Fatal(err)
			}
			for _, r := range w.state.Reservations {
				if r.Host == "h1" {
					t.Errorf("%s after %d events: %+v is still reserved on the lost host", strategy, events, r)
				}
			}
			clear(w.mute)
			w.settle()
			for range 20 {
				if Deadline(w.state).IsZero() {
					break
				}
				w.pass()
			}
			c := w.state.Container
			if !Deadline(w.state).IsZero() || len(c.Leftovers) != 0 {
				t.Errorf("%s after %d events does not come to rest: %s, %+v, leftovers %v", strategy, events, c.Status, w.state.Update, c.Leftovers)
			}
			if c.Active != nil && c.Active.Host == "h1" {
				t.Errorf("%s after %d events: %s serves on the lost host", strategy, events, c.Active.ID)
			}
		}
	}
}
