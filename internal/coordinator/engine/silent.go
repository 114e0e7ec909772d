package engine

import (
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// silent takes word that a host does not answer. What serves there may well go
// on, so that its container only says so. A candidate there counts as healthy no
// longer; once the silence is long it is placed elsewhere if it can be.
func (t *transition) silent(o model.Observation) {
	t.activeSilent(o)
	u := t.active()
	if u == nil || u.Switched || u.New.Host != o.Host || u.New.ID != o.Enclave {
		return
	}
	if u.Healthy {
		u.Healthy, t.changed = false, true
	}
	switch {
	case u.Step == model.StepHoldRoute || u.Step == model.StepDrain:
		t.dontStop(o.Host)
	case !o.Long || u.Replanning || u.Outcome != "" && !u.Restoring:
	case t.movable():
		u.Replanning, u.HostSilent = true, true
		t.changed = true
		t.effects = append(t.effects, Replan{u.New})
	case u.Step == model.StepPrepare || u.Step == model.StepHold:
		t.waitForHost("only this host can go on with it")
	}
}

// dontStop ends a replace before its downtime begins: nobody could tell when that
// would end.
func (t *transition) dontStop(host string) {
	t.fail(&Failure{Reason: "HOST_SILENT", Text: fmt.Sprintf("host %s does not answer: nothing was stopped, %s serves on; try again when the host answers", host, t.s.Update.Old.ID)})
}

// activeSilent notes that the host of what serves does not answer.
func (t *transition) activeSilent(o model.Observation) {
	c := t.s.Container
	if c.Active == nil || c.Active.ID != o.Enclave || c.Active.Host != o.Host || c.Silent != nil && c.Silent.Host == o.Host {
		return
	}
	c.Silent = &model.Silence{Host: o.Host, Since: o.Since}
	t.changed = true
	t.tell(model.Warning, "HOST_UNREACHABLE", "host %s, where %s serves, does not answer since %s: what runs there may well go on", o.Host, o.Enclave, o.Since.UTC().Format(time.RFC3339))
}

// answered notes that a host answers again.
func (t *transition) answered(o model.Observation) {
	if u := t.active(); u != nil && u.New.Host == o.Host && u.New.ID == o.Enclave {
		t.keepHost()
	}
	c := t.s.Container
	if c.Silent == nil || c.Silent.Host != o.Host {
		return
	}
	c.Silent, t.changed = nil, true
	t.tell(model.Info, "HOST_ANSWERS", "host %s answers again", o.Host)
}

// endSilence forgets the silence of a host on which nothing serves any more.
func (t *transition) endSilence() {
	if c := t.s.Container; c.Silent != nil && (c.Active == nil || c.Active.Host != c.Silent.Host) {
		c.Silent, t.changed = nil, true
	}
}

// movable says whether the candidate could as well be on another host: nothing
// was given up for its host, or what was is proved gone. A held candidate is the
// one that a person looks at, and is not exchanged under their eyes.
func (t *transition) movable() bool {
	u := t.s.Update
	switch u.Step {
	case model.StepPrepare, model.StepAwaitFree, model.StepBoot, model.StepAttest, model.StepHealth:
	default:
		return false
	}
	return t.s.Container.Teardown == nil && (u.Strategy == model.BlueGreen || u.Old == nil || u.OldGone)
}

// movedAway takes the planner's answer for a candidate whose host is silent.
func (t *transition) movedAway(ev Replanned) {
	u := t.s.Update
	u.HostSilent = false
	if ev.Failure != nil && u.HostForgotten {
		t.notBroughtBack(ev.Failure)
		return
	}
	if ev.Failure != nil {
		// The host may come back; until then the step's effects go on.
		t.entered = true
		t.waitForHost("there is no other place (" + ev.Failure.Text + ")")
		return
	}
	reason, what := "HOST_SILENT", "does not answer"
	if u.HostForgotten {
		reason, what = "HOST_FORGOTTEN", "was given up"
	}
	text := fmt.Sprintf("host %s %s: going on on host %s", u.New.Host, what, ev.Host)
	t.note(text)
	t.tell(model.Warning, reason, "%s", text)
	if u.BootedAt.IsZero() {
		delete(t.s.Reservations, u.New.ID) // it was never told to create anything
	} else {
		t.abandon(u.New)
		t.unreserve(u.New.ID)
	}
	t.keepDeadline()
	t.placeAnew(ev.Host)
}

// notBroughtBack ends an update whose previous revision has no place: its host was
// given up, so that there is nothing to wait for.
func (t *transition) notBroughtBack(f *Failure) {
	u := t.s.Update
	text := fmt.Sprintf("revision %d is not brought back: host %s was given up and there is no other place (%s)", u.New.Revision, u.New.Host, f.Text)
	u.Text += "; " + text
	t.fail(&Failure{Reason: f.Reason, Text: text})
}

// keepDeadline makes what is left of the present limit the limit of all that
// follows until the candidate is healthy: hosts that fall silent one after the
// other don't make an update last for ever. A replace that waits for GPUs has not
// begun to use what it has for booting.
func (t *transition) keepDeadline() {
	u := t.s.Update
	switch {
	case !u.StartedUntil.IsZero():
		u.PendingUntil = u.StartedUntil
	case u.Step == model.StepAwaitFree && !u.Moved:
		u.PendingUntil = t.now.Add(t.limits.Pending)
	}
	u.Moved = true
}

// waitForHost tells that a silent host is waited for, and until when.
func (t *transition) waitForHost(why string) {
	u := t.s.Update
	text := fmt.Sprintf("host %s does not answer and %s: waiting for it until %s", u.New.Host, why, u.Deadline.Format(time.RFC3339))
	t.note(text)
	t.tell(model.Warning, "HOST_SILENT", "%s", text)
}

// keepHost forgets that a candidate was to be placed elsewhere: its host has
// answered before the planner has.
func (t *transition) keepHost() {
	if u := t.s.Update; u.HostSilent {
		u.Replanning, u.HostSilent, t.changed = false, false, true
	}
}

// askingElsewhere adds the question to the planner to the effects of a step, if it
// is open.
func (t *transition) askingElsewhere(effects ...Effect) []Effect {
	if u := t.s.Update; u.HostSilent {
		effects = append(effects, Replan{u.New})
	}
	return effects
}
