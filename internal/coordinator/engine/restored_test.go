package engine

import (
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func TestAfterARestoreOnlyTheNextSwitchOverrulesWhatGatewaysHold(t *testing.T) {
	const past = 1000
	w := deployed(t)
	w.engine.Restored = past
	w.die()
	if g := w.state.Route.Generation; g >= past {
		t.Errorf("generation %d closes a route that may lead to something newer", g)
	}
	w.pass()
	if g := w.state.Route.Generation; g != past+1 {
		t.Errorf("generation %d after the switch, want %d", g, past+1)
	}
	w.die()
	if g := w.state.Route.Generation; g != past+2 {
		t.Errorf("generation %d after the next change, want %d", g, past+2)
	}
}

// What the lost time switched to has the next generation.
func TestAfterARestoreAHostThatIsGivenUpClosesNoRouteThatLeadsElsewhereByNow(t *testing.T) {
	w := deployed(t)
	w.engine.Restored = 1000
	was := w.state.Route.Generation
	if err := w.send(HostGone{w.state.Container.Active.Host}); err != nil {
		t.Fatal(err)
	}
	r := w.state.Route
	if r.Generation != was+1 || r.State != model.RouteClosed || len(r.Lost) != 1 {
		t.Errorf("the route is %s with generation %d, %q lost; want it closed with generation %d, one lost", r.State, r.Generation, r.Lost, was+1)
	}
}

// So does what follows it: together they count one generation, in either order.
func TestAfterARestoreNoNumberOfLossesClosesARouteThatLeadsElsewhereByNow(t *testing.T) {
	w := deployed(t)
	w.engine.Restored = 1000
	was, c := w.state.Route.Generation, w.state.Container
	for i, host := range []string{"h7", "h8", "h9"} {
		c.Leftovers = append(c.Leftovers, model.EnclaveRef{ID: EnclaveID("c1", 9, int64(i)), Host: host})
	}
	lose := func(host string, lost int, generation int64) {
		t.Helper()
		if err := w.send(HostGone{host}); err != nil {
			t.Fatal(err)
		}
		if r := w.state.Route; len(r.Lost) != lost || r.Generation != generation {
			t.Fatalf("%q are lost in generation %d, want %d in generation %d", r.Lost, r.Generation, lost, generation)
		}
	}
	lose("h7", 1, was)
	lose("h8", 2, was)
	w.die()
	if r := w.state.Route; r.State != model.RouteClosed || r.Generation != was+1 {
		t.Errorf("the route is %s with generation %d, want it closed with generation %d", r.State, r.Generation, was+1)
	}
	lose("h9", 3, was+1)
}

func TestAfterARestoreARouteIsPublishedAnewOnceItsEnclaveIsKnownToLive(t *testing.T) {
	const past = 1000
	w := deployed(t)
	w.engine.Restored = past
	a := *w.state.Container.Active
	if err := w.send(w.observe(a, model.EnclaveStarting)); err != nil {
		t.Fatal(err)
	}
	if g := w.state.Route.Generation; g >= past {
		t.Errorf("generation %d before the agent said that %s is healthy", g, a.ID)
	}
	for range 2 {
		if err := w.send(w.observe(a, model.EnclaveHealthy)); err != nil {
			t.Fatal(err)
		}
		if r := w.state.Route; r.Generation != past+1 || r.State != model.RouteServing || r.Enclave != a.ID {
			t.Errorf("the route is %s to %s, generation %d, want it serving to %s, once past what gateways hold (%d)", r.State, r.Enclave, r.Generation, a.ID, past+1)
		}
	}
}

func TestAfterARestoreNoEnclaveHasAnIDOfTheTimeThatWasLost(t *testing.T) {
	const past = 1000
	w := deployed(t)
	w.engine.Restored = past
	for want := range 2 {
		w.begin(model.BlueGreen, "v2", int64(2+want), model.UpdateOptions{})
		w.settle()
		if id := EnclaveID("c1", int64(2+want), past+1+int64(want)); w.state.Container.Active.ID != id {
			t.Errorf("%s serves, want %s", w.state.Container.Active.ID, id)
		}
	}
}
