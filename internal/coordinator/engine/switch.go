package engine

import (
	"slices"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// keptBoots is how many boot durations a container remembers.
const keptBoots = 5

// changeRoute is the way a route changes: its generation grows with it, past those
// that gateways may hold from before the store was restored. A nil enclave leaves
// the endpoint as it is.
func (t *transition) changeRoute(state model.RouteState, to *model.EnclaveRef) {
	t.s.Route.Generation = max(t.s.Route.Generation, t.restored)
	t.nextRoute(state, to)
}

// nextRoute changes the route as far as is known. What has died since the backup
// of a restored store must not close a route that leads somewhere else by now:
// gateways refuse its generation, and what serves goes on until it is replaced. It
// led there with the next generation at the least, so only one change may count on
// from what the backup has: closing, after which nothing but a switch follows.
func (t *transition) nextRoute(state model.RouteState, to *model.EnclaveRef) {
	r := t.s.Route
	r.State = state
	r.Generation++
	r.Updated = t.now
	if to != nil {
		r.Enclave, r.Endpoint = to.ID, to.Endpoint
	}
	t.changed = true
}

// reissue lets the route of a restored store overrule what gateways hold from the
// time that was lost, such as a hold for an update that nobody knows of any more:
// but only once an agent has said that what it leads to is there.
func (t *transition) reissue(o model.Observation) {
	r := t.s.Route
	alive := o.State == model.EnclaveHealthy || o.State == model.EnclaveUnhealthy
	if r.Generation >= t.restored || r.State != model.RouteServing || r.Enclave != o.Enclave || !alive {
		return
	}
	t.changeRoute(model.RouteServing, nil)
	// Whoever waits for the route to be acknowledged waits for it as it is now.
	t.entered = t.entered || t.active() != nil || t.s.Container.Teardown != nil
}

// switchRoute is the switch: the active revision, the route and its generation,
// and the step, in one commit. The runner's compare on the records it read makes
// cancel and accept compete for them. From here there is only forward.
func (t *transition) switchRoute() {
	u, c := t.s.Update, t.s.Container
	u.Switched, u.SwitchedAt = true, t.now
	serving := u.New
	serving.Since = t.now
	// Its status stays what it is until the gateways send clients there: see afterSwitch.
	// One whose enclave was trusted no more did not serve.
	if c.Status == model.Failed {
		c.Status = model.Deploying
	}
	c.Active, c.Unhealthy = &serving, false
	c.Reason, c.Text, c.Distrusted = "", "", ""
	c.Release = max(c.Release, serving.Release)
	c.StartTimeout, c.HealthWait = u.Options.StartTimeout, u.Options.HealthWait
	if u.Kind != model.KindRestart {
		c.Restart = nil
	}
	c.Spec = u.NewSpec
	if u.Restoring {
		c.Spec = u.OldSpec
	}
	c.Boots = slices.Insert(c.Boots, 0, t.now.Sub(u.BootedAt))
	c.Boots = c.Boots[:min(len(c.Boots), keptBoots)]
	t.changeRoute(model.RouteServing, &serving)
	t.tell(model.Info, "SWITCHED", "%s now leads to %s (%s), generation %d", t.s.Route.Domain, serving.ID, serving.Tag, t.s.Route.Generation)
}

func (t *transition) acknowledged(ev Acknowledged) {
	if ev.Domain != t.s.Route.Domain || ev.Generation < t.s.Route.Generation {
		return
	}
	if d := t.s.Container.Teardown; d != nil && d.Step == model.TeardownCloseRoute {
		t.routeClosed()
	}
	u := t.active()
	if u == nil {
		return
	}
	switch u.Step {
	case model.StepHoldRoute:
		t.afterHoldRoute()
	case model.StepSwitch:
		t.afterSwitch()
	}
}

// gatewaySilent goes on without a gateway that does not acknowledge: what it
// still sends to the old enclave is lost when that stops, and is told.
func gatewaySilent(next func(*transition)) func(*transition) {
	return func(t *transition) {
		t.tell(model.Warning, "GATEWAY_SILENT", "not every gateway has acknowledged generation %d of %s: going on without it", t.s.Route.Generation, t.s.Route.Domain)
		t.note("not every gateway acknowledged")
		next(t)
	}
}

// afterSwitch follows the acknowledgements. A container that did not serve
// before is RUNNING from here on: whoever asks now meets the new version.
func (t *transition) afterSwitch() {
	u, c := t.s.Update, t.s.Container
	if c.Status == model.Deploying && c.Active != nil && c.Active.ID == u.New.ID {
		c.Status, t.changed = model.Running, true
	}
	if u.Old == nil || u.OldGone {
		t.enter(model.StepRelease)
		return
	}
	t.enter(model.StepDrain)
}

func (t *transition) drained(ev Drained) {
	if d := t.s.Container.Teardown; d != nil && d.Step == model.TeardownDrain && t.s.Container.Active != nil && t.s.Container.Active.ID == ev.Enclave {
		t.teardownDrained(ev.Left)
	}
	u := t.active()
	if u == nil || u.Old == nil || u.Old.ID != ev.Enclave || u.Step != model.StepDrain && u.Step != model.StepStopOld {
		return
	}
	if u.Left != ev.Left {
		u.Left, t.changed = ev.Left, true
	}
	if ev.Left == 0 && u.Step == model.StepDrain {
		t.enter(model.StepStopOld)
	}
}

func (t *transition) drainOver() {
	if left := t.s.Update.Left; left > 0 && t.s.Update.Switched {
		t.tell(model.Warning, "DRAIN_TIMEOUT", "%d connections to %s are cut: the drain timeout is over", left, t.s.Update.Old.ID)
	}
	t.enter(model.StepStopOld)
}

// release gives back what is not needed any more and ends the update.
func (t *transition) release() {
	u := t.s.Update
	if u.Outcome == "" {
		u.Outcome = model.Succeeded
	}
	if !u.Switched {
		t.unreserve(u.New.ID)
	}
	if u.Old != nil && u.Old.Host != "" && u.OldGone {
		t.unreserve(u.Old.ID)
	}
	if r, ok := t.s.Reservations[u.New.ID]; ok && r.After != "" {
		r.After = ""
		t.s.Reservations[u.New.ID] = r
	}
	t.finish()
}

// finish ends the update with its outcome and settles what the container is.
func (t *transition) finish() {
	u, c := t.s.Update, t.s.Container
	c.Update = ""
	switch {
	case t.distrusted():
		c.Status = model.Failed
	case c.Active != nil:
		// It serves, or the old version never ceased to.
	case c.Teardown != nil:
	case u.Switched:
		// What it switched to has ended since, and left its reason.
		if c.Restart != nil {
			t.schedule(&Failure{Reason: c.Reason, Text: c.Text})
		}
	default:
		c.Status, c.Reason, c.Text = model.Failed, u.Reason, u.Text
		t.afterLoss()
	}
	if t.s.Route.State != model.RouteServing && c.Active != nil && !t.distrusted() {
		t.changeRoute(model.RouteServing, c.Active)
	}
	if t.s.Route.State == model.RouteHeld {
		t.changeRoute(model.RouteClosed, nil)
	}
	u.Status, u.Ended = u.Outcome, t.now
	t.enter(model.StepDone)
	t.s.Update.Status = u.Outcome
	severity := model.Info
	if u.Outcome == model.UpdateFailed {
		severity = model.Error
	}
	t.tell(severity, "UPDATE_"+string(u.Outcome), "update to %s: %s", u.ToTag, endText(u))
	t.updateEnded()
}

func endText(u *model.Update) string {
	if u.Text != "" {
		return u.Text
	}
	return string(u.Outcome)
}
