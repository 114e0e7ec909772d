package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// TestRunningOnceTheGatewaysSendClients: what did not serve before is RUNNING
// when the gateways have acknowledged the route, or their time is over.
func TestRunningOnceTheGatewaysSendClients(t *testing.T) {
	for _, tc := range []struct {
		rule string
		// before has the container serving, or not.
		before func(*testing.T) *world
		kind   model.Strategy
		status model.ContainerStatus
	}{
		{"a first deployment", newWorld, model.BlueGreen, model.Deploying},
		{"an update beside the old version", deployed, model.BlueGreen, model.Running},
		{"a replace", deployed, model.Replace, model.Deploying},
	} {
		for _, silent := range []bool{false, true} {
			w := tc.before(t)
			w.answers["AwaitAck"] = func(e Effect) []Event {
				if w.state.Update != nil && w.state.Update.Switched {
					return nil
				}
				return w.perfect(e)
			}
			w.begin(tc.kind, "v2", 2, model.UpdateOptions{})
			w.settle()
			u, c := w.state.Update, w.state.Container
			if u.Step != model.StepSwitch || c.Status != tc.status || u.Status != model.Ready {
				t.Fatalf("%s: before the acknowledgements the container is %s, the update %s in %s; want %s, READY in SWITCH", tc.rule, c.Status, u.Status, u.Step, tc.status)
			}
			if c.Active == nil || c.Active.ID != u.New.ID {
				t.Errorf("%s: after the switch %v is active, want %s", tc.rule, c.Active, u.New.ID)
			}
			serves := u.New.ID
			if silent {
				w.pass()
			} else if err := w.send(Acknowledged{w.state.Route.Domain, w.state.Route.Generation}); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.want(model.Succeeded, model.Running, serves)
		}
	}
}

// TestWhatDiesBeforeTheAcknowledgementsIsNotRunning: the late word of a gateway
// does not bring the status of a dead enclave back.
func TestWhatDiesBeforeTheAcknowledgementsIsNotRunning(t *testing.T) {
	w := newWorld(t)
	w.mute["AwaitAck"] = true
	w.begin(model.BlueGreen, "v1", 1, model.UpdateOptions{})
	w.settle()
	generation := w.state.Route.Generation
	if err := w.send(w.observe(w.state.Update.New, model.EnclaveFailed)); err != nil {
		t.Fatal(err)
	}
	if err := w.send(Acknowledged{w.state.Route.Domain, generation + 1}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if s := w.state.Container.Status; s == model.Running {
		t.Errorf("with its enclave dead the container is %s", s)
	}
}

// TestAReplaceDrainsAsLongAsItWasTold: a drain timeout beyond what the guest
// grants by itself is waited for with the route held, and can be cancelled.
func TestAReplaceDrainsAsLongAsItWasTold(t *testing.T) {
	long := model.UpdateOptions{DrainTimeout: GuestDrain + time.Minute}
	begin := func(t *testing.T) *world {
		w := deployed(t)
		w.answers["AwaitDrain"] = func(e Effect) []Event { return []Event{Drained{e.(AwaitDrain).Enclave, 2}} }
		w.begin(model.Replace, "v2", 2, long)
		w.settle()
		u := w.state.Update
		if u.Step != model.StepDrain || u.Status != model.Pending || u.Left != 2 || w.state.Route.State != model.RouteHeld {
			t.Fatalf("update %s in %s with %d connections left, route %s; want PENDING in DRAIN with 2, HELD", u.Status, u.Step, u.Left, w.state.Route.State)
		}
		if at := w.now.Add(time.Minute); !u.Deadline.Equal(at) {
			t.Errorf("it drains until %s, want %s: the guest drains for the rest", u.Deadline, at)
		}
		return w
	}
	for rule, end := range map[string]func(*world) error{
		"the last connection ends": func(w *world) error { return w.send(Drained{w.state.Update.Old.ID, 0}) },
		"the time is over":         func(w *world) error { w.pass(); return nil },
		"the old version dies": func(w *world) error {
			delete(w.alive, w.state.Update.Old.ID)
			return w.send(w.observe(*w.state.Update.Old, model.EnclaveFailed))
		},
		"a person stops the wait": func(w *world) error { return w.send(Force{w.state.Update.ID, model.StepDrain}) },
	} {
		t.Run(rule, func(t *testing.T) {
			w := begin(t)
			if err := end(w); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.want(model.Succeeded, model.Running, "c1-r2-2")
			if left := w.state.Update.Left; left != 0 {
				t.Errorf("%d connections are left to an enclave that is gone", left)
			}
		})
	}
	t.Run("it is cancelled", func(t *testing.T) {
		w := begin(t)
		if err := w.send(Cancel{ID: w.state.Update.ID}); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.want(model.UpdateCancelled, model.Running, "c1-r1-1")
		if w.state.Route.State != model.RouteServing || !slices.Contains(w.ever, "c1-r1-1") || !w.alive["c1-r1-1"] {
			t.Errorf("after the cancellation the route is %s, the old version alive: %v", w.state.Route.State, w.alive["c1-r1-1"])
		}
	})
}
