package engine

import (
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// silent takes word that a candidate's host has not answered for long. Before
// the guest runs the candidate is placed elsewhere; what may have begun on the
// host is given up on, so that it is stopped when the host is seen again. A later
// candidate is waited for: it may be nearly there. So is one of a replace or of a
// restore, which is for the very GPUs that its host must prove free.
func (t *transition) silent(o model.Observation) {
	u := t.active()
	if u == nil || u.New.ID != o.Enclave || u.New.Host != o.Host || !t.movable() || u.Replanning {
		return
	}
	u.Replanning, u.HostSilent = true, true
	t.changed = true
	t.effects = append(t.effects, Replan{u.New})
}

// movable says whether the candidate could as well be on another host.
func (t *transition) movable() bool {
	u := t.s.Update
	early := u.Step == model.StepPrepare || u.Step == model.StepBoot
	return early && u.Strategy == model.BlueGreen && !u.Restoring && u.Outcome == ""
}

// movedAway takes the planner's answer for a candidate whose host is silent.
func (t *transition) movedAway(ev Replanned) {
	u := t.s.Update
	u.HostSilent = false
	if ev.Failure != nil {
		// The host may come back; until then the step's effects go on.
		t.entered = true
		text := fmt.Sprintf("host %s does not answer and there is no other place (%s): waiting for it until %s", u.New.Host, ev.Failure.Text, u.Deadline.Format(time.RFC3339))
		t.note(text)
		t.tell(model.Warning, "HOST_SILENT", "%s", text)
		return
	}
	text := fmt.Sprintf("host %s does not answer: going on on host %s", u.New.Host, ev.Host)
	t.note(text)
	t.tell(model.Warning, "HOST_SILENT", "%s", text)
	if u.BootedAt.IsZero() {
		delete(t.s.Reservations, u.New.ID) // it was never told to create anything
	} else {
		t.abandon(u.New)
		t.unreserve(u.New.ID)
	}
	t.placeAnew(ev.Host)
}

// keepHost forgets that a candidate was to be placed elsewhere: its host has
// answered before the planner has.
func (t *transition) keepHost() {
	if u := t.s.Update; u.HostSilent {
		u.Replanning, u.HostSilent = false, false
	}
}
