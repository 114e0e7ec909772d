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
