package engine

import (
	"slices"
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

var refused = &Failure{Reason: "ATTESTATION_REFUSED", Text: "measurement: another"}

func TestAnEnclaveThatIsTrustedNoMoreLosesItsRoute(t *testing.T) {
	w := deployed(t)
	enclave, generation := w.state.Container.Active.ID, w.state.Route.Generation
	judged := Rejudged{Enclave: enclave, Failure: refused, Close: true}
	for range 2 {
		if err := w.send(judged); err != nil {
			t.Fatal(err)
		}
	}
	c, r := w.state.Container, w.state.Route
	if r.State != model.RouteClosed || r.Generation != generation+1 {
		t.Errorf("the route is %s of generation %d, expected it closed once, after %d", r.State, r.Generation, generation)
	}
	if c.Status != model.Failed || c.Reason != ReasonDistrusted || c.Active == nil {
		t.Errorf("the container is %s, %s, serving %v; expected it failed with the enclave left to be looked at", c.Status, c.Reason, c.Active)
	}
	if n := len(slices.DeleteFunc(slices.Clone(w.log), func(l string) bool { return l != "ENCLAVE_DISTRUSTED" })); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	// Good evidence does not open it again; another version does.
	if err := w.send(Rejudged{Enclave: enclave}); err != nil || w.state.Route.State != model.RouteClosed {
		t.Errorf("the route is %s, %v", w.state.Route.State, err)
	}
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	if w.state.Container.Status != model.Running || w.state.Route.State != model.RouteServing || w.state.Container.Active.ID == enclave {
		t.Errorf("after an update the container is %s, its route %s", w.state.Container.Status, w.state.Route.State)
	}
}

func TestAPolicyThatOnlyReportsLeavesTheRoute(t *testing.T) {
	w := deployed(t)
	enclave := w.state.Container.Active.ID
	if err := w.send(Rejudged{Enclave: enclave, Failure: refused}); err != nil {
		t.Fatal(err)
	}
	if c := w.state.Container; w.state.Route.State != model.RouteServing || c.Status != model.Running || c.Reason != ReasonDistrusted {
		t.Errorf("the route is %s, the container %s, %s", w.state.Route.State, c.Status, c.Reason)
	}
	if err := w.send(Rejudged{Enclave: enclave}); err != nil || w.state.Container.Reason != "" || !slices.Contains(w.log, "ENCLAVE_TRUSTED") {
		t.Errorf("after good evidence the reason is %q, %v", w.state.Container.Reason, err)
	}
}

func TestAVerdictOnWhatServesNoMoreChangesNothing(t *testing.T) {
	w := deployed(t)
	before := w.state.Route.Generation
	if err := w.send(Rejudged{Enclave: "c1-r9-9", Failure: refused, Close: true}); err != nil {
		t.Fatal(err)
	}
	if w.state.Route.Generation != before || w.state.Container.Reason != "" {
		t.Error("a verdict on another enclave took effect")
	}
	if err := w.send(Stop{Kind: model.TeardownStop}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if err := w.send(Rejudged{Enclave: "c1-r1-1", Failure: refused, Close: true}); err != nil || w.state.Container.Status != model.Stopped {
		t.Errorf("the stopped container is %s, %v", w.state.Container.Status, err)
	}
}

func TestNoUpdateThatEndsOpensTheRouteOfWhatIsTrustedNoMore(t *testing.T) {
	before := func(step model.Step, strategy model.Strategy, mute string) func(*world, Rejudged) {
		return func(w *world, judged Rejudged) {
			w.mute[mute] = true
			w.begin(strategy, "v2", 2, model.UpdateOptions{})
			w.settle()
			if w.state.Update.Step != step {
				w.t.Fatalf("the update is in %s", w.state.Update.Step)
			}
			if err := w.send(judged); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for name, refuse := range map[string]func(*world, Rejudged){
		"refused before the update began": func(w *world, judged Rejudged) {
			if err := w.send(judged); err != nil {
				w.t.Fatal(err)
			}
			w.mute["AwaitAck"] = true
			w.begin(model.Replace, "v2", 2, model.UpdateOptions{})
			w.settle()
		},
		"refused while the candidate boots":    before(model.StepBoot, model.BlueGreen, "Create"),
		"refused while the route is held":      before(model.StepHoldRoute, model.Replace, "AwaitAck"),
		"refused before a replace has begun":   before(model.StepPrepare, model.Replace, "Prepare"),
		"refused before a candidate is wanted": before(model.StepPrepare, model.BlueGreen, "Prepare"),
	} {
		t.Run(name, func(t *testing.T) {
			w := deployed(t)
			enclave := w.state.Container.Active.ID
			refuse(w, Rejudged{Enclave: enclave, Failure: refused, Close: true})
			if err := w.send(Cancel{ID: w.state.Update.ID}); err != nil {
				t.Fatal(err)
			}
			w.settle()
			c, r := w.state.Container, w.state.Route
			if w.state.Update.Status != model.UpdateCancelled || r.State != model.RouteClosed {
				t.Errorf("the update is %s and the route %s to %s, expected it cancelled and closed", w.state.Update.Status, r.State, r.Enclave)
			}
			if c.Status != model.Failed || c.Reason != ReasonDistrusted || c.Active == nil || c.Active.ID != enclave {
				t.Errorf("the container is %s, %s, serving %v", c.Status, c.Reason, c.Active)
			}
		})
	}
}

func TestNoUpdateThatSucceedsOpensTheRouteOfWhatItSwitchedToAndIsTrustedNoMore(t *testing.T) {
	w := deployed(t)
	w.mute["AwaitDrain"] = true
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	if err := w.send(Rejudged{Enclave: w.state.Container.Active.ID, Failure: refused, Close: true}); err != nil {
		t.Fatal(err)
	}
	for w.state.Container.Update != "" {
		w.pass()
	}
	if c, r := w.state.Container, w.state.Route; r.State != model.RouteClosed || c.Status != model.Failed || c.Reason != ReasonDistrusted {
		t.Errorf("the route is %s, the container %s, %s", r.State, c.Status, c.Reason)
	}
}

func TestHealthHidesNotThatAnEnclaveIsTrustedNoMore(t *testing.T) {
	w := deployed(t)
	a := *w.state.Container.Active
	for _, ev := range []Event{
		Rejudged{Enclave: a.ID, Failure: refused, Close: true},
		w.observe(a, model.EnclaveUnhealthy), w.observe(a, model.EnclaveHealthy),
	} {
		if err := w.send(ev); err != nil {
			t.Fatal(err)
		}
		if c := w.state.Container; c.Reason != ReasonDistrusted || c.Status != model.Failed {
			t.Errorf("after %T the container is %s, %q", ev, c.Status, c.Reason)
		}
	}
}
