package engine

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// is says whether the update is in the step and about the enclave named.
func (t *transition) is(step model.Step, enclave string) bool {
	u := t.active()
	return u != nil && u.Step == step && u.New.ID == enclave
}

func (t *transition) prepared(ev Prepared) {
	switch {
	case !t.is(model.StepPrepare, ev.Enclave):
	case ev.Failure != nil:
		t.fail(ev.Failure)
	case t.s.Update.Restoring, t.s.Update.Strategy == model.Replace && t.s.Update.Old != nil && t.s.Update.OldGone:
		// It has stopped or died; that the room is free is still to be proved.
		t.enter(model.StepAwaitFree)
	case t.s.Update.Strategy == model.Replace && t.s.Update.Old != nil:
		t.enter(model.StepHoldRoute)
	default:
		t.enter(model.StepBoot)
	}
}

func (t *transition) holdRoute() {
	t.changeRoute(model.RouteHeld, nil)
}

// afterHoldRoute follows the acknowledgements of a held route: nothing new goes to
// the old enclave. Its guest drains when it is told to stop, and knows which
// connections are idle, so that only a drain timeout beyond the guest's own is
// waited for here.
func (t *transition) afterHoldRoute() {
	if s := t.s.Container.Silent; s != nil {
		t.dontStop(s.Host)
		return
	}
	if t.drainTimeout() > GuestDrain {
		t.enter(model.StepDrain)
		return
	}
	t.enter(model.StepStopOld)
}

// beginStopOld records the intent before the old enclave is told to stop. In a
// replace this is where the downtime begins and the container's settings become
// the new ones.
func (t *transition) beginStopOld() {
	u, c := t.s.Update, t.s.Container
	u.OldStopping = true
	if !u.Switched {
		c.Status, c.Spec = model.Deploying, u.NewSpec
		t.tell(model.Warning, "DOWNTIME_BEGAN", "stopping %s: new connections to %s wait for the new version", u.Old.ID, t.s.Route.Domain)
	}
	if u.OldGone {
		t.oldGone()
	}
}

// oldGone follows the proof that nothing of the old enclave is left.
func (t *transition) oldGone() {
	u := t.s.Update
	u.OldGone = true
	t.changed = true
	if !u.Switched {
		u.Left = 0
	}
	delete(t.s.Reservations, u.Old.ID)
	if t.s.Container.Active != nil && t.s.Container.Active.ID == u.Old.ID {
		t.s.Container.Active = nil
	}
	switch {
	case u.Step != model.StepStopOld:
	case u.Switched:
		t.enter(model.StepRelease)
	case u.Outcome != "":
		t.afterStopNew()
	default:
		t.enter(model.StepAwaitFree)
	}
}

func (t *transition) freed(ev Freed) {
	if t.is(model.StepAwaitFree, ev.Enclave) {
		t.enter(model.StepBoot)
	}
}

// beginBoot charges the time that stopping took to nobody: the limit for
// booting starts anew in a replace.
func (t *transition) beginBoot() {
	u := t.s.Update
	u.BootedAt = t.now
	if (u.Strategy == model.Replace || u.Restoring) && !u.Moved {
		u.PendingUntil = t.now.Add(t.limits.Pending)
		u.Deadline = u.PendingUntil
	}
}

func (t *transition) created(ev Created) {
	switch {
	case !t.is(model.StepBoot, ev.Enclave) || ev.Failure == nil || t.s.Update.Replanning:
	case ev.Failure.NoRoom && !t.s.Update.Replanned && !t.s.Update.Restoring:
		t.replan(ev.Failure)
	case ev.Failure.NoRoom:
		t.fail(&Failure{Reason: "CAPACITY_LOST", Text: "the agent refused the claim and no other host has room: " + ev.Failure.Text})
	default:
		t.fail(ev.Failure)
	}
}

// replan asks once for another host when the agent refuses the claim.
func (t *transition) replan(f *Failure) {
	u := t.s.Update
	u.Replanned, u.Replanning = true, true
	t.changed = true
	t.note("claim refused: " + f.Text)
	t.tell(model.Warning, "CLAIM_REFUSED", "host %s refused the claim of %s (%s): planning again", u.New.Host, u.New.ID, f.Text)
	t.effects = append(t.effects, Replan{u.New})
}

func (t *transition) replanned(ev Replanned) {
	if u := t.active(); u == nil || u.New.ID != ev.Failed || !u.Replanning {
		return
	}
	t.s.Update.Replanning = false
	t.changed = true
	if t.s.Update.HostSilent {
		t.movedAway(ev)
		return
	}
	if ev.Failure != nil {
		t.fail(&Failure{Reason: "CAPACITY_LOST", Text: "the agent refused the claim and there is no other place: " + ev.Failure.Text})
		return
	}
	u := t.s.Update
	delete(t.s.Reservations, u.New.ID)
	t.effects = append(t.effects, Halt{u.New, 0, "claim refused"})
	t.placeAnew(ev.Host)
}

// placeAnew begins again with another candidate on another host.
func (t *transition) placeAnew(host string) {
	u := t.s.Update
	u.New.ID, u.New.Host = t.nextEnclave(u.New.Revision), host
	t.forgetCandidate()
	t.reserveNew()
	t.enter(model.StepPrepare)
}

// forgetCandidate clears what was learnt of the candidate before.
func (t *transition) forgetCandidate() {
	u := t.s.Update
	u.New.Endpoint, u.New.Insecure = "", nil
	u.Healthy, u.Attested, u.HostForgotten, u.BootedAt = false, false, false, time.Time{}
	u.Stages, u.Verdict = nil, nil
}

func (t *transition) beginAttest() {
	u := t.s.Update
	limit := max(t.limits.Started, u.Options.HealthWait)
	if u.Options.StartTimeout > 0 {
		limit = u.Options.StartTimeout
	}
	if !u.Moved || u.StartedUntil.IsZero() {
		u.StartedUntil = t.now.Add(limit)
	}
	u.Deadline = u.StartedUntil
}

func (t *transition) verified(ev Verified) {
	if !t.is(model.StepAttest, ev.Enclave) {
		return
	}
	u := t.s.Update
	if ev.Verdict != nil {
		u.Verdict, u.New.Insecure = ev.Verdict, ev.Verdict.Insecure
		t.changed = true
	}
	if ev.Failure != nil {
		t.fail(ev.Failure)
		return
	}
	u.Attested = true
	t.enter(model.StepHealth)
}

// observed takes an agent's word on an enclave of this container. An agent has
// a say on its own host only.
func (t *transition) observed(o model.Observation) {
	if o.State == model.EnclaveSilent {
		t.silent(o)
		return
	}
	t.answered(o)
	u := t.active()
	about := func(ref *model.EnclaveRef) bool {
		return ref != nil && ref.ID == o.Enclave && ref.Host == o.Host
	}
	switch {
	case u != nil && !u.Switched && about(&u.New):
		t.candidate(o)
	case u != nil && about(u.Old):
		t.old(o)
	case about(t.s.Container.Active):
		t.serving(o)
	default:
		t.leftover(o)
	}
}

// candidate takes a word on the enclave that is to serve.
func (t *transition) candidate(o model.Observation) {
	u := t.s.Update
	t.record(o)
	switch {
	case u.Step == model.StepStopNew:
		if o.Stopped() {
			t.afterStopNew()
		}
	case o.State == model.EnclaveAbsent && u.Step == model.StepBoot && o.Anew:
		// If it was created, then on the host before.
		t.again = true
	case o.State == model.EnclaveAbsent && u.Step == model.StepBoot, u.BootedAt.IsZero():
		// Not created yet: the agent can't know of it.
	case o.Ended():
		t.fail(endedFailure(o, u.BootedAt))
	case u.Step == model.StepHealth && o.HealthFailed():
		t.fail(&Failure{Reason: o.Reason, Text: o.Text})
	case u.Step == model.StepBoot && o.Guest():
		t.enter(model.StepAttest)
		t.candidateHealthy()
	default:
		t.candidateHealthy()
	}
}

func (t *transition) candidateHealthy() {
	u := t.s.Update
	if u.Step != model.StepHealth || !u.Healthy || !u.Attested {
		return
	}
	if u.Options.Hold && !u.Restoring {
		t.enter(model.StepHold)
		t.tell(model.Info, "CANDIDATE_READY", "%s is healthy and waits to be accepted", u.New.ID)
		return
	}
	t.enter(model.StepSwitch)
}

// record keeps what is to be shown of the candidate.
func (t *transition) record(o model.Observation) {
	u := t.s.Update
	healthy := o.State == model.EnclaveHealthy
	if u.Healthy == healthy && (o.Endpoint == "" || u.New.Endpoint == o.Endpoint) && sameStages(u.Stages, o.Stages) {
		return
	}
	t.changed = true
	u.Healthy = healthy
	if o.Endpoint != "" {
		u.New.Endpoint = o.Endpoint
	}
	if len(o.Stages) > 0 {
		u.Stages = slices.Clone(o.Stages)
	}
}

// sameStages compares all but durations: a clock that runs is no change.
func sameStages(a, b []model.Stage) bool {
	if len(b) == 0 {
		return true
	}
	return slices.EqualFunc(a, b, func(x, y model.Stage) bool {
		x.Duration, y.Duration = 0, 0
		return reflect.DeepEqual(x, y)
	})
}

// endedFailure is why an enclave has ended that was begun at a time, in the words of
// what its host says.
func endedFailure(o model.Observation, begun time.Time) *Failure {
	if o.State == model.EnclaveAbsent && o.Anew && !begun.After(o.Since) {
		return &Failure{Reason: "HOST_SET_UP_ANEW", Text: fmt.Sprintf(
			"host %s was set up anew, or lost its state folder, and knows nothing of what it had (since %s): redeploy", o.Host, o.Since.UTC().Format(time.RFC3339))}
	}
	if o.State == model.EnclaveAbsent {
		return &Failure{Reason: "ENCLAVE_LOST", Text: "the agent on " + o.Host + " no longer knows the enclave: redeploy"}
	}
	f := &Failure{Reason: o.Reason, Text: o.Text}
	if f.Reason == "" {
		f.Reason = "ENCLAVE_DIED"
	}
	if f.Text == "" {
		f.Text = "the enclave ended before it was healthy: see its log"
	}
	return f
}

// old takes a word on the enclave that served at the start.
func (t *transition) old(o model.Observation) {
	u := t.s.Update
	switch {
	case u.OldGone:
	case u.OldStopping:
		if o.Stopped() {
			t.oldGone()
		}
	case o.Ended():
		t.activeDied(o)
		if o.Gone() {
			t.oldGone()
		}
	default:
		t.serving(o)
	}
}
