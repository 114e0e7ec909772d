package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// named returns the update in progress if it has this id.
func (t *transition) named(id string) (*model.Update, error) {
	u := t.s.Update
	if u == nil || u.ID != id {
		return nil, &Refused{Reason: "UPDATE_NOT_ACTIVE", Text: fmt.Sprintf("update %s is not in progress: see the container's update history", id)}
	}
	if u.Status.Ended() {
		return nil, &Refused{Reason: "UPDATE_ENDED", Update: u.ID, Text: fmt.Sprintf("update %s has ended: %s %s", u.ID, u.Status, u.Text)}
	}
	return u, nil
}

// accept lets a held candidate take the traffic. It competes with cancel for the
// same record; exactly one wins.
func (t *transition) accept(ev Accept) error {
	u, err := t.named(ev.ID)
	switch {
	case err != nil:
		return err
	case u.Outcome != "":
		return &Refused{Reason: "UPDATE_CANCELLED", Update: u.ID, Text: fmt.Sprintf("update %s is being undone (%s): start a new one", u.ID, u.Text)}
	case u.Switched:
		return &Refused{Reason: "ALREADY_SWITCHED", Update: u.ID, Text: fmt.Sprintf("update %s has already switched: nothing is left to accept", u.ID)}
	case u.Step != model.StepHold:
		return &Refused{Reason: "NOT_READY", Update: u.ID, Text: fmt.Sprintf("update %s is not READY (%s, step %s): wait until it is", u.ID, u.Status, u.Step)}
	case !u.Healthy:
		return &Refused{Reason: "NOT_HEALTHY", Update: u.ID, Text: fmt.Sprintf("the candidate %s is not healthy now: look at its log, or cancel the update", u.New.ID)}
	}
	t.note("accepted")
	t.tell(model.Info, "UPDATE_ACCEPTED", "%s was accepted", u.New.ID)
	t.enter(model.StepSwitch)
	return nil
}

// cancel tears the candidate down; no traffic switches to it.
func (t *transition) cancel(ev Cancel) error {
	u, err := t.named(ev.ID)
	switch {
	case err != nil:
		return err
	case u.Switched && !u.Restoring:
		return &Refused{Reason: "ALREADY_SWITCHED", Update: u.ID, Text: fmt.Sprintf("traffic has switched to %s: to go back, update to the older tag", u.New.ID)}
	case u.Outcome == model.UpdateCancelled:
		return nil
	case u.Outcome != "":
		return &Refused{Reason: "UPDATE_ENDING", Update: u.ID, Text: fmt.Sprintf("update %s has failed and is being undone: %s", u.ID, u.Text)}
	}
	u.CancelRequested = true
	u.Outcome, u.Reason, u.Text = model.UpdateCancelled, ev.Reason, ev.Text
	t.changed = true
	t.tell(model.Info, "CANCEL_REQUESTED", "%s", ev.Text)
	t.undo()
	return nil
}

func (t *transition) holdExpired() {
	u := t.s.Update
	u.Outcome, u.Reason = model.UpdateCancelled, "HOLD_EXPIRED"
	u.Text = "nobody accepted the candidate in time; start the update again when somebody can"
	t.undo()
}

// fail decides that the update has failed. After the switch it does nothing:
// then the failure is one of the container, not of the update.
func (t *transition) fail(f *Failure) {
	u := t.s.Update
	if u.Switched {
		return
	}
	if u.Outcome == "" {
		u.Outcome, u.Reason, u.Text = model.UpdateFailed, f.Reason, f.Text
	}
	t.changed = true
	t.tell(model.Error, f.Reason, "%s: %s", u.Step, f.Text)
	t.note(f.Text)
	t.undo()
}

// undo stops the candidate if it was ever told to boot.
func (t *transition) undo() {
	u := t.s.Update
	switch {
	case u.Step == model.StepStopOld && !u.OldGone:
		// The old enclave was told to stop; what becomes of it comes first.
	case !u.BootedAt.IsZero():
		t.enter(model.StepStopNew)
	default:
		t.afterStopNew()
	}
}

// afterStopNew follows the proof that nothing of the candidate is left.
func (t *transition) afterStopNew() {
	u := t.s.Update
	delete(t.s.Reservations, u.New.ID)
	t.changed = true
	if t.shouldRestore() {
		t.restore()
		return
	}
	t.enter(model.StepRelease)
}

// shouldRestore says whether the previous revision is to be brought back: after
// a replace had stopped it, if that was asked for, or if the update was
// cancelled, for a cancellation keeps the current version.
func (t *transition) shouldRestore() bool {
	u := t.s.Update
	stopped := u.Strategy == model.Replace && u.Old != nil && u.OldStopping
	wanted := u.Options.RestoreOnFailure || u.Outcome == model.UpdateCancelled
	return stopped && wanted && !u.Restoring && t.s.Container.Teardown == nil
}

// restore makes the previous revision the candidate.
func (t *transition) restore() {
	u := t.s.Update
	failed := u.New
	if !u.BootedAt.IsZero() {
		u.Failed = &failed
	}
	u.Restoring = true
	u.New = *u.Old
	u.New.ID = t.nextEnclave(u.Old.Revision)
	t.forgetCandidate()
	u.Moved, u.StartedUntil = false, time.Time{}
	t.s.Container.Spec = u.OldSpec
	t.reserveNew()
	t.tell(model.Warning, "RESTORING", "bringing revision %d (%s) back", u.New.Revision, u.New.Tag)
	t.enter(model.StepAwaitFree)
}

func failLate(reason string) func(*transition) {
	return func(t *transition) {
		u := t.s.Update
		t.fail(&Failure{Reason: reason, Text: fmt.Sprintf("step %s was not over by %s: see the enclave's log and its host's conditions", u.Step, u.Deadline.Format(time.RFC3339))})
	}
}

func failForced(t *transition) {
	t.fail(&Failure{Reason: "FORCED", Text: fmt.Sprintf("a person ended step %s", t.s.Update.Step)})
}

// force stops waiting in a step.
func (t *transition) force(ev Force) error {
	u, err := t.named(ev.ID)
	if err != nil {
		return err
	}
	if u.Step != ev.Step {
		return &Refused{Reason: "STEP_CHANGED", Update: u.ID, Text: fmt.Sprintf("update %s is in step %s now, not in %s: look again", u.ID, u.Step, ev.Step)}
	}
	t.tell(model.Warning, "UPDATE_FORCED", "a person stopped the wait in step %s", u.Step)
	t.changed = true
	rules[u.Step].forced(t)
	return nil
}

// newWontStop gives up waiting for a candidate: it is known and counted, and
// stopped when its host is seen again.
func (t *transition) newWontStop() {
	t.abandon(t.s.Update.New)
	t.unreserve(t.s.Update.New.ID)
	if t.shouldRestore() {
		// Its room can't be proved free on its host; AWAIT_FREE will tell.
		t.restore()
		return
	}
	t.enter(model.StepRelease)
}

// oldWontStop gives up waiting for the old enclave. After a switch the update
// goes on; in a replace there is no proof that its room is free, so it fails.
func (t *transition) oldWontStop() {
	u := t.s.Update
	t.abandon(*u.Old)
	t.unreserve(u.Old.ID)
	if t.s.Container.Active != nil && t.s.Container.Active.ID == u.Old.ID {
		t.s.Container.Active = nil
	}
	u.OldGone = true
	if u.Switched {
		t.enter(model.StepRelease)
		return
	}
	if u.Outcome == "" {
		u.Outcome, u.Reason = model.UpdateFailed, "OLD_NOT_STOPPED"
		u.Text = fmt.Sprintf("host %s did not prove that %s stopped; nothing was booted on its GPUs", u.Old.Host, u.Old.ID)
	}
	t.enter(model.StepRelease)
}

// keptLeftovers bounds what a container remembers of enclaves that were given up on.
const keptLeftovers = 64

// trimLeftovers leaves the oldest to the reaper, which stops what its host lists and
// nobody wants: whoever restarts again and again on hosts that fall silent is not to
// outgrow their record.
func (t *transition) trimLeftovers() {
	c := t.s.Container
	for len(c.Leftovers) > keptLeftovers {
		delete(t.s.Reservations, c.Leftovers[0].ID)
		c.Leftovers = slices.Delete(c.Leftovers, 0, 1)
	}
}

func (t *transition) abandon(ref model.EnclaveRef) {
	c := t.s.Container
	if !slices.ContainsFunc(c.Leftovers, func(l model.EnclaveRef) bool { return l.ID == ref.ID }) {
		c.Leftovers = append(c.Leftovers, ref)
		t.trimLeftovers()
	}
	t.changed = true
	t.tell(model.Warning, "ENCLAVE_LEFT_OVER", "%s on host %s did not prove that it stopped: it is stopped when the host is seen again", ref.ID, ref.Host)
}
