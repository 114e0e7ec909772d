package engine

import (
	"fmt"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// EnclaveID returns the id of an enclave: <container-uid>-r<revision>-<attempt>.
func EnclaveID(uid string, revision, attempt int64) string {
	return fmt.Sprintf("%s-r%d-%d", uid, revision, attempt)
}

// Startable returns a [*Refused] if no update can be started now: one is in
// progress, or the container is being torn down.
func Startable(s State) error {
	c := s.Container
	if u := s.Update; u != nil && !u.Status.Ended() {
		return &Refused{
			Reason: "UPDATE_IN_PROGRESS", Update: u.ID,
			Text: fmt.Sprintf("update %s of %s is in progress (%s, step %s): wait for it, cancel it, or ask to supersede it", u.ID, c.Name, u.Status, u.Step),
		}
	}
	if c.Teardown != nil {
		return &Refused{Reason: "CONTAINER_" + string(c.Status), Text: fmt.Sprintf("container %s is being torn down: wait until that is over", c.Name)}
	}
	return nil
}

// start begins an update that was planned.
func (t *transition) start(ev Start) error {
	if err := Startable(t.s); err != nil {
		return err
	}
	c := t.s.Container
	u := ev.Update
	if u.Kind != model.KindRestart {
		c.Restart = nil
	}
	c.Updates++
	u.Number = c.Updates
	u.ID = fmt.Sprintf("%s-u%d", c.Name, u.Number)
	u.Org, u.Container, u.UID = c.Org, c.Name, c.UID
	u.ToRevision = ev.Revision
	c.Revisions = max(c.Revisions, ev.Revision)
	u.New.Revision = ev.Revision
	u.New.ID = t.nextEnclave(ev.Revision)
	u.OldSpec = c.Spec
	u.Created = t.now
	u.PendingUntil = t.now.Add(t.limits.Pending)
	u.Status = model.Pending
	c.Update, c.LastUpdate = u.ID, u.ID
	t.s.Update = &u
	if c.Active != nil {
		old := *c.Active
		u.Old = &old
	} else {
		c.Spec, c.Status, c.Reason, c.Text = u.NewSpec, model.Deploying, "", ""
	}
	t.reserveNew()
	t.tell(model.Info, "UPDATE_STARTED", "%s to %s (%s) on host %s: %s", u.Kind, u.ToTag, u.Strategy, u.New.Host, planReason(&u))
	t.enter(model.StepReserve)
	return nil
}

func planReason(u *model.Update) string {
	if u.Plan == nil {
		return "no plan"
	}
	return u.Plan.Reason
}

// nextEnclave numbers attempts past all there can have been since the backup of a
// restored store: a host may remember an enclave of the time that was lost, or run
// it, and would take another one with its id for it.
func (t *transition) nextEnclave(revision int64) string {
	t.s.Container.Attempts = max(t.s.Container.Attempts, t.restored) + 1
	return EnclaveID(t.s.Container.UID, revision, t.s.Container.Attempts)
}

// reserveNew promises the candidate its room. In a replace it takes over the
// room of the enclave that goes, so the two are counted once.
func (t *transition) reserveNew() {
	u := t.s.Update
	r := model.Reservation{
		Enclave: u.New.ID, Host: u.New.Host,
		Org: u.Org, Container: u.Container, Room: u.New.Room,
	}
	if u.Strategy == model.Replace && u.Old != nil && u.Old.Host == u.New.Host {
		r.After = u.Old.ID
	}
	if t.s.Reservations == nil {
		t.s.Reservations = map[string]model.Reservation{}
	}
	t.s.Reservations[u.New.ID] = r
	t.changed = true
}
