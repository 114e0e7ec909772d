package engine

import (
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// stop begins to stop or delete the container. A deletion takes over from a
// stop; asking twice is harmless.
func (t *transition) stop(kind model.TeardownKind) error {
	c := t.s.Container
	if d := c.Teardown; d != nil {
		if d.Kind == model.TeardownStop && kind == model.TeardownDelete {
			d.Kind, c.Status, t.changed = kind, model.Deleting, true
			t.tell(model.Info, "DELETE_REQUESTED", "the container is deleted once it has stopped")
		}
		return nil
	}
	if kind == model.TeardownStop && c.Status == model.Stopped && c.Active == nil {
		return nil
	}
	c.Teardown = &model.Teardown{Kind: kind}
	c.Restart = nil
	c.Status = model.Stopping
	if kind == model.TeardownDelete {
		c.Status = model.Deleting
	}
	t.tell(model.Info, string(kind)+"_REQUESTED", "the container is torn down")
	t.enterTeardown(model.TeardownAwaitUpdate)
	t.endUpdate(kind)
	return nil
}

// endUpdate cancels the update in progress or, after its switch, hurries it.
func (t *transition) endUpdate(kind model.TeardownKind) {
	u := t.active()
	switch {
	case u == nil:
		t.advanceTeardown()
	case u.Switched && u.Step == model.StepDrain:
		t.enter(model.StepStopOld)
	case u.Switched || u.Outcome != "" && !u.Restoring:
	default:
		if u.Outcome == "" {
			u.CancelRequested = true
			u.Outcome, u.Reason = model.UpdateCancelled, "CONTAINER_"+string(kind)
			u.Text = fmt.Sprintf("the container was told to %s", kind)
		}
		t.undo()
	}
}

// updateEnded lets a waiting teardown go on.
func (t *transition) updateEnded() {
	if d := t.s.Container.Teardown; d != nil && d.Step == model.TeardownAwaitUpdate {
		t.advanceTeardown()
	}
}

func (t *transition) enterTeardown(step model.TeardownStep) {
	d := t.s.Container.Teardown
	d.Step = step
	d.Deadline = t.now.Add(t.teardownLimit(step))
	t.changed, t.tornStep = true, true
}

func (t *transition) teardownLimit(step model.TeardownStep) time.Duration {
	switch step {
	case model.TeardownAwaitUpdate:
		return t.limits.Teardown
	case model.TeardownDrain:
		return t.limits.Drain
	case model.TeardownStopEnclave:
		return t.limits.Stop + t.limits.StopMargin
	default:
		return t.limits.Ack
	}
}

// advanceTeardown goes to the step that follows the present one.
func (t *transition) advanceTeardown() {
	c := t.s.Container
	d := c.Teardown
	if d.Step == model.TeardownAwaitUpdate && t.active() == nil {
		t.changeRoute(model.RouteClosed, nil)
		t.enterTeardown(model.TeardownCloseRoute)
		return
	}
	if d.Step == model.TeardownCloseRoute || c.Active != nil {
		return
	}
	if d.Step == model.TeardownDrain || d.Step == model.TeardownStopEnclave {
		t.afterEnclave()
	}
}

func (t *transition) routeClosed() {
	if t.s.Container.Active == nil {
		t.afterEnclave()
		return
	}
	t.enterTeardown(model.TeardownDrain)
}

func (t *transition) teardownDrained(left int64) {
	d := t.s.Container.Teardown
	if d.Left != left {
		d.Left, t.changed = left, true
	}
	if left == 0 {
		t.enterTeardown(model.TeardownStopEnclave)
	}
}

func (t *transition) activeStopped() {
	c := t.s.Container
	delete(t.s.Reservations, c.Active.ID)
	c.Active, t.changed = nil, true
	t.afterEnclave()
}

// afterEnclave follows when nothing runs any more.
func (t *transition) afterEnclave() {
	if t.s.Container.Teardown.Kind == model.TeardownDelete {
		t.enterTeardown(model.TeardownDNS)
		return
	}
	t.finishTeardown()
}

func (t *transition) withdrawn(ev Withdrawn) {
	d := t.s.Container.Teardown
	if d != nil && d.Step == model.TeardownDNS && ev.Domain == t.s.Route.Domain {
		t.finishTeardown()
	}
}

func (t *transition) finishTeardown() {
	c := t.s.Container
	kind := c.Teardown.Kind
	c.Teardown, t.changed, t.tornStep = nil, true, true
	c.Unhealthy = false
	if kind == model.TeardownStop {
		c.Status, c.Reason, c.Text = model.Stopped, "", ""
		t.tell(model.Info, "STOPPED", "nothing of the container runs; its name, domain and settings stay")
		return
	}
	t.s.Deleted = true
	t.s.Route.Deleted = true
	t.changeRoute(model.RouteClosed, &model.EnclaveRef{})
	t.tell(model.Info, "DELETED", "the container, its settings and its secret bindings are gone")
}

// teardownLate goes on without whoever was waited for.
func (t *transition) teardownLate() {
	c := t.s.Container
	switch c.Teardown.Step {
	case model.TeardownAwaitUpdate:
		c.Teardown.Deadline = t.now.Add(t.limits.Teardown)
		t.changed = true
		if u := t.active(); u != nil {
			rules[u.Step].forced(t)
		}
	case model.TeardownCloseRoute:
		t.tell(model.Warning, "GATEWAY_SILENT", "not every gateway has closed %s: going on without it", t.s.Route.Domain)
		t.routeClosed()
	case model.TeardownDrain:
		t.enterTeardown(model.TeardownStopEnclave)
	case model.TeardownStopEnclave:
		if c.Active != nil {
			t.abandon(*c.Active)
			t.unreserve(c.Active.ID)
			c.Active = nil
		}
		t.afterEnclave()
	case model.TeardownDNS:
		t.tell(model.Warning, "DNS_NOT_WITHDRAWN", "the DNS records of %s could not be removed in time: remove them by hand", t.s.Route.Domain)
		t.finishTeardown()
	}
}

func (t *transition) teardownEffects() []Effect {
	c := t.s.Container
	d := c.Teardown
	if d == nil {
		return nil
	}
	switch d.Step {
	case model.TeardownCloseRoute:
		return []Effect{AwaitAck{t.s.Route.Domain, t.s.Route.Generation}}
	case model.TeardownDrain:
		return []Effect{AwaitDrain{c.Active.ID}}
	case model.TeardownStopEnclave:
		return []Effect{Halt{*c.Active, t.limits.Stop, string(d.Kind)}}
	case model.TeardownDNS:
		return []Effect{WithdrawDNS{t.s.Route.Domain}}
	}
	return nil
}
