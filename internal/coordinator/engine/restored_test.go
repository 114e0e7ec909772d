package engine

import "testing"

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
