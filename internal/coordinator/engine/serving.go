package engine

import (
	"slices"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// serving takes a word on the enclave that serves.
func (t *transition) serving(o model.Observation) {
	c := t.s.Container
	if c.Active == nil || c.Active.ID != o.Enclave {
		return
	}
	if d := c.Teardown; d != nil && d.Step == model.TeardownStopEnclave {
		if o.Stopped() {
			t.activeStopped()
		}
		return
	}
	if o.Ended() {
		t.activeDied(o)
		return
	}
	t.reissue(o)
	t.activeHealth(o)
}

// activeHealth shows whether the serving enclave's health check passes. Traffic
// stays: a version that is unhealthy now and then is better than none.
func (t *transition) activeHealth(o model.Observation) {
	c := t.s.Container
	unhealthy := o.State == model.EnclaveUnhealthy
	if c.Unhealthy == unhealthy {
		return
	}
	c.Unhealthy, t.changed = unhealthy, true
	reason, text := "", ""
	if unhealthy {
		reason, text = "UNHEALTHY", "the health check of "+o.Enclave+" fails"
		if !t.distrusted() {
			text += "; it still gets traffic"
		}
		if o.Text != "" {
			text += ": " + o.Text
		}
		t.tell(model.Warning, "ENCLAVE_UNHEALTHY", "%s", text)
	} else {
		t.tell(model.Info, "ENCLAVE_HEALTHY", "%s is healthy again", o.Enclave)
	}
	if c.Reason != ReasonDistrusted { // which weighs more
		c.Reason, c.Text = reason, text
	}
}

// activeDied follows the end of the enclave that served.
func (t *transition) activeDied(o model.Observation) {
	c := t.s.Container
	if c.Active == nil || c.Active.ID != o.Enclave {
		return
	}
	f := endedFailure(o, c.Active.Since)
	t.tell(model.Error, "ENCLAVE_DIED", "%s, which served, has ended: %s", o.Enclave, f.Error())
	gone := *c.Active
	delete(t.s.Reservations, gone.ID)
	c.Active, c.Unhealthy = nil, false
	c.Status, c.Reason, c.Text = model.Failed, f.Reason, "the enclave that served has ended: "+f.Text
	if u := t.active(); u != nil && !u.Switched {
		c.Status = model.Deploying
	}
	if r := t.s.Route; r.State == model.RouteServing && r.Enclave == gone.ID {
		t.nextRoute(model.RouteClosed, nil)
	}
	if u := t.active(); u != nil && !u.Switched && (u.Step == model.StepHoldRoute || u.Step == model.StepDrain) {
		u.OldStopping = true
		c.Spec = u.NewSpec
		t.enter(model.StepAwaitFree)
	}
	t.died(gone, f)
}

// unreserve gives promised room back. The reservation of an enclave that was
// given up on stays without room: while it stands, the agent's silence about the
// enclave is told too, once its host is seen again.
func (t *transition) unreserve(id string) {
	given := slices.ContainsFunc(t.s.Container.Leftovers, func(l model.EnclaveRef) bool { return l.ID == id })
	r, ok := t.s.Reservations[id]
	switch {
	case !ok:
	case given:
		r.Room, r.After = model.Room{}, ""
		t.s.Reservations[id] = r
	default:
		delete(t.s.Reservations, id)
	}
	t.changed = true
}

// leftover takes a word on an enclave that was given up on.
func (t *transition) leftover(o model.Observation) {
	c := t.s.Container
	i := slices.IndexFunc(c.Leftovers, func(l model.EnclaveRef) bool { return l.ID == o.Enclave && l.Host == o.Host })
	if i < 0 {
		return
	}
	if !o.Gone() {
		return
	}
	c.Leftovers = slices.Delete(c.Leftovers, i, i+1)
	delete(t.s.Reservations, o.Enclave)
	t.changed = true
	t.tell(model.Info, "LEFTOVER_GONE", "%s is gone at last", o.Enclave)
}
