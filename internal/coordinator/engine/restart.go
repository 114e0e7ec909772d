package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// died decides what follows the end of the enclave that served.
func (t *transition) died(gone model.EnclaveRef, f *Failure) {
	c := t.s.Container
	if c.Teardown != nil {
		t.advanceTeardown()
		return
	}
	attempts := 0
	if c.Restart != nil && t.now.Sub(gone.Since) < t.limits.Steady {
		attempts = c.Restart.Attempts
	}
	c.Restart = &model.Restart{Ref: gone, Attempts: attempts}
	if t.active() == nil {
		t.schedule(f)
	}
}

// afterLoss starts again what died by itself once the update that was in
// progress has ended without anything that serves. What an update failed to
// start, or had stopped for a replace, is not: that is for its owner to decide.
func (t *transition) afterLoss() {
	u := t.s.Update
	if t.s.Container.Restart == nil {
		return
	}
	if u.Strategy == model.Replace && u.OldStopping {
		t.s.Container.Restart = nil
		return
	}
	t.schedule(&Failure{Reason: u.Reason, Text: u.Text})
}

// schedule sets when the next start is due, or gives up.
func (t *transition) schedule(f *Failure) {
	c := t.s.Container
	r := c.Restart
	t.changed = true
	r.Asked = false
	c.Reason = f.Reason
	if r.Attempts >= t.limits.Restarts {
		c.Status, r.At = model.Failed, time.Time{}
		c.Text = fmt.Sprintf("it was started again %d times and did not stay; the last time: %s", r.Attempts, f.Text)
		if r.Attempts == 0 {
			c.Text = "it has ended, and this coordinator starts nothing again by itself: " + f.Text
		}
		t.tell(model.Error, "RESTARTS_EXHAUSTED", "%s", c.Text)
		return
	}
	pause := t.limits.restartPause(r.Attempts)
	r.Attempts++
	r.At = t.now.Add(pause)
	c.Status = model.Deploying
	c.Text = fmt.Sprintf("what served has ended and is started again in %s (attempt %d of %d): %s", pause, r.Attempts, t.limits.Restarts, f.Text)
	t.tell(model.Warning, "RESTART_SCHEDULED", "%s", c.Text)
}

// askPlace asks the planner where the next start can go.
func (t *transition) askPlace() {
	r := t.s.Container.Restart
	// If no answer comes it is asked again.
	r.At, r.Asked = t.now.Add(t.limits.Ack), true
	t.changed, t.entered = true, true
}

func (t *transition) restartEffects() []Effect {
	r := t.s.Container.Restart
	if r == nil || !r.Asked {
		return nil
	}
	ref := r.Ref
	ref.Host = ""
	return []Effect{Place{ref}}
}

// placed starts the revision that died again, where the planner says.
func (t *transition) placed(ev Placed) {
	c := t.s.Container
	r := c.Restart
	if r == nil || !r.Asked || c.Teardown != nil || t.active() != nil {
		return
	}
	if ev.Failure != nil {
		t.schedule(ev.Failure)
		return
	}
	r.At, r.Asked, t.changed = time.Time{}, false, true
	u := model.Update{
		Kind: model.KindRestart, Strategy: model.BlueGreen, ToTag: r.Ref.Tag, NewSpec: c.Spec,
		Options: model.UpdateOptions{StartTimeout: c.StartTimeout, HealthWait: c.HealthWait},
		New:     model.EnclaveRef{Host: ev.Host, Tag: r.Ref.Tag, Commit: r.Ref.Commit, Room: r.Ref.Room},
		Plan: &model.Plan{
			Strategy: model.BlueGreen, Host: ev.Host, Room: r.Ref.Room, Tag: r.Ref.Tag, Commit: r.Ref.Commit, Revision: r.Ref.Revision,
			Reason: fmt.Sprintf("%s, which served, has ended: attempt %d of %d to start it again", r.Ref.ID, r.Attempts, t.limits.Restarts),
		},
	}
	// Nothing is in progress and nothing is torn down, so it can't be refused.
	_ = t.start(Start{Update: u, Revision: r.Ref.Revision})
}

// hostGone takes an operator's word that a host is lost: whatever was on it has
// ended.
func (t *transition) hostGone(host string) {
	lost := func(ref model.EnclaveRef) model.Observation {
		return model.Observation{
			Enclave: ref.ID, Host: host, State: model.EnclaveFailed, Reason: "HOST_FORGOTTEN",
			Text: "host " + host + " was given up",
		}
	}
	c := t.s.Container
	t.closeConnections(host)
	c.Leftovers = slices.DeleteFunc(c.Leftovers, func(l model.EnclaveRef) bool { t.changed = t.changed || l.Host == host; return l.Host == host })
	if u := t.active(); u != nil {
		t.updateLost(u, host, lost)
	}
	if c.Active != nil && c.Active.Host == host {
		t.serving(lost(*c.Active))
	}
	for id, r := range t.s.Reservations {
		if r.Host == host && (t.active() == nil || t.s.Update.New.ID != id) {
			delete(t.s.Reservations, id)
			t.changed = true
		}
	}
}

// updateLost ends what an update had on a host that is lost.
func (t *transition) updateLost(u *model.Update, host string, lost func(model.EnclaveRef) model.Observation) {
	if u.Old != nil && u.Old.Host == host && !u.OldGone {
		t.old(lost(*u.Old))
	}
	if t.active() == nil || u.Switched || u.New.Host != host {
		return
	}
	if u.Step != model.StepStopNew {
		t.fail(&Failure{Reason: "HOST_FORGOTTEN", Text: "host " + host + " was given up"})
	}
	if t.active() != nil && u.Step == model.StepStopNew && u.New.Host == host {
		t.afterStopNew()
	}
	if t.active() != nil && u.New.Host == host && t.movable() {
		u.Replanning, u.HostSilent, u.HostForgotten = true, true, true // the version that is brought back
	}
}
