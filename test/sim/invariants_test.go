package sim

import (
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// check holds every invariant against a container that a commit has touched.
func (w *world) check(s *seen, was change) {
	w.oneActiveUpdate(s)
	if s.container == nil {
		return
	}
	w.noWayBack(s, was)
	w.oldUntouched(s)
	w.routeOnlyToTheProved(s, was)
	w.noRoomTwice()
	w.cancelledNeverSwitched(s, was)
	w.atMostTwoWanted(s)
	w.everyWaitHasADeadline(s)
	w.drainAfterTheAcknowledgements(s, was)
	w.runningOnceRouted(s, was)
	w.restAfterProof(s, was)
	w.calmMeetsNoDeadline(s, was)
	w.heldUntilAccepted(s, was)
	w.tornDownAfterProof(s, was)
	w.notToTheSilent(s, was)
	w.noDowntimeInSilence(s, was)
	w.noTimeAnew(s, was)
	w.noRefusalTooSoon(s, was)
	w.noLossUnexplained(s, was)
	w.nothingUnknownRuns(s)
	w.lossesToldToGateways(s, was)
	w.idsAreNew(s, was)
}

// I1: at most one active update per container.
func (w *world) oneActiveUpdate(s *seen) {
	active := ""
	for id, status := range s.statuses {
		if status.Ended() {
			continue
		}
		if active != "" {
			w.violate("I1", "updates %s and %s of %s are both active", active, id, s.key)
		}
		active = id
	}
	if s.container == nil {
		if active != "" {
			w.violate("I1", "update %s of %s is active, and the container is deleted", active, s.key)
		}
		s.statuses = map[string]model.UpdateStatus{}
		s.switched = map[string]bool{}
		s.update = nil
		return
	}
	if s.container.Update != active {
		w.violate("I1", "%s names update %q, active is %q", s.key, s.container.Update, active)
	}
}

// I2: in a blue-green update before SWITCH the route points at the old
// revision's enclave, unless that is trusted no more, and the update does nothing to
// that enclave.
func (w *world) oldUntouched(s *seen) {
	u, c := s.state(w.view).Update, s.container
	if u == nil || u.Strategy != model.BlueGreen || u.Switched || u.Old == nil || c.Active == nil || u.Status.Ended() {
		return
	}
	r := w.view.routes[c.Spec.Domain]
	if w.distrusted[u.Old.ID] && r.State == model.RouteClosed {
		return
	}
	if c.Active.ID != u.Old.ID || r.State != model.RouteServing || r.Enclave != u.Old.ID {
		w.violate("I2", "%s in %s: the route of %s is %s to %s, want it serving to %s", u.ID, u.Step, s.key, r.State, r.Enclave, u.Old.ID)
	}
}

// checkStop is I2's other half: it is asked when an agent is told to stop.
func (w *world) checkStop(h *host, e *enclave) {
	if e.foreign {
		w.violate("I12", "%s, which is of another cluster, was told to stop", e.id)
	}
	s := w.view.containers[e.key.String()]
	if s == nil || s.container == nil {
		return
	}
	c, u := s.container, s.state(w.view).Update
	if c.Active == nil || c.Active.ID != e.id || c.Teardown != nil {
		return
	}
	if u == nil || u.Strategy == model.BlueGreen && !u.Switched {
		w.violate("I2", "%s, which serves %s, was told to stop", e.id, s.key)
	}
}

// I3: no route ever points at an enclave that was not attested and healthy when
// switched to.
func (w *world) routeOnlyToTheProved(s *seen, was change) {
	r := w.view.routes[s.container.Spec.Domain]
	if r.State != model.RouteServing || r.Enclave == was.route.Enclave || r.Generation == was.route.Generation {
		return
	}
	if !w.judged[r.Enclave] {
		w.violate("I3", "%s leads to %s, which was never attested", r.Domain, r.Enclave)
	}
	if s.update == nil || !s.update.Healthy || !w.healthy[r.Enclave] {
		w.violate("I3", "%s leads to %s, which is not healthy", r.Domain, r.Enclave)
	}
}

// I4: no GPU has two holders, in the store or on the host.
func (w *world) noRoomTwice() {
	sums := map[string]int{}
	for _, r := range w.view.reservations {
		sums[r.Host] += beyondOf(r, w.view.reservations).GPUs
	}
	for h, n := range sums {
		if n > gpusPerHost && !w.restoring(h) {
			w.violate("I4", "%d GPUs of %s are promised, it has %d", n, h, gpusPerHost)
		}
	}
}

// restoring says whether a previous revision is being brought back on a host: it
// is promised its room again before anybody looks, and waits for the proof.
func (w *world) restoring(h string) bool {
	for _, s := range w.view.containers {
		if s.container == nil {
			continue
		}
		if u := s.state(w.view).Update; u != nil && u.Restoring && u.New.Host == h {
			return true
		}
	}
	return false
}

// I5: an update that reported CANCELLED was never switched to, and the reverse.
func (w *world) cancelledNeverSwitched(s *seen, was change) {
	u := s.update
	if u == nil {
		return
	}
	r := w.view.routes[s.container.Spec.Domain]
	if r.State == model.RouteServing && r.Generation != was.route.Generation && r.Enclave == u.New.ID && !u.Restoring {
		s.switched[u.ID] = true
	}
	switch {
	case u.Status == model.UpdateCancelled && s.switched[u.ID]:
		w.violate("I5", "%s is CANCELLED and was switched to", u.ID)
	case u.Status == model.Succeeded && !s.switched[u.ID]:
		w.violate("I5", "%s SUCCEEDED and was never switched to", u.ID)
	}
}

// I6: at most two enclaves per container are wanted at a time.
func (w *world) atMostTwoWanted(s *seen) {
	if n := len(engine.Wanted(s.state(w.view))); n > 2 {
		w.violate("I6", "%d enclaves of %s are wanted", n, s.key)
	}
}

// everyWaitHasADeadline is rule 6: every state that is not an end has a
// persisted absolute deadline.
func (w *world) everyWaitHasADeadline(s *seen) {
	st := s.state(w.view)
	now := time.Now().Add(w.offset)
	if u := st.Update; u != nil && !u.Status.Ended() && (u.Deadline.IsZero() || u.Deadline.After(now.Add(48*time.Hour))) {
		w.violate("I8", "%s in %s has the deadline %s", u.ID, u.Step, u.Deadline)
	}
	if d := s.container.Teardown; d != nil && d.Deadline.IsZero() {
		w.violate("I8", "the teardown of %s in %s has no deadline", s.key, d.Step)
	}
}

// drainAfterTheAcknowledgements is rule 3: DRAIN begins after the gateways'
// acknowledgements, unless their time is over or a person said so.
func (w *world) drainAfterTheAcknowledgements(s *seen, was change) {
	u := s.update
	if was.update == nil || u == nil || was.update.ID != u.ID || !u.Switched || u.Step == model.StepSwitch {
		return
	}
	waited := was.update.Step == model.StepSwitch
	if was.update.Switched && !waited {
		return
	}
	now := time.Now().Add(w.offset)
	if waited && !now.Before(was.update.Deadline) || w.forced[u.ID+string(model.StepSwitch)] || s.container.Teardown != nil {
		return
	}
	for _, g := range w.gates {
		r := w.view.routes[s.container.Spec.Domain]
		if time.Since(g.since) < time.Second {
			continue
		}
		if g.disconnect != nil && g.routes[r.Domain].Generation < r.Generation {
			w.violate("R3", "%s leaves SWITCH at generation %d, gateway %s has %d", u.ID, r.Generation, g.name, g.routes[r.Domain].Generation)
		}
	}
}

// runningOnceRouted: what did not serve before is not RUNNING while gateways may
// still refuse its clients.
func (w *world) runningOnceRouted(s *seen, was change) {
	u := s.update
	if u == nil || u.Step != model.StepSwitch || s.container.Status != model.Running {
		return
	}
	if was.container == nil || was.container.Status != model.Running {
		w.violate("R3", "%s is RUNNING in SWITCH of %s, before the gateways have acknowledged", s.key, u.ID)
	}
}

// restAfterProof is "not CANCELLED until the agent reports it gone": an update
// that ends without having switched leaves no candidate running, or names it as
// a leftover.
func (w *world) restAfterProof(s *seen, was change) {
	u := s.update
	if u == nil || !u.Status.Ended() || was.update == nil || was.update.Status.Ended() {
		return
	}
	for _, h := range w.hosts {
		for id, e := range h.enclaves {
			if e.key != s.key || !e.asked || e.ended() || e.lied || h.forgotten {
				continue
			}
			if s.container.Active != nil && s.container.Active.ID == id || leftover(s.container, id) || h.liar {
				continue
			}
			if u.New.ID == id || u.Old != nil && u.Old.ID == id || u.Failed != nil && u.Failed.ID == id {
				w.violate("R2", "%s is %s, and %s is %s on %s", u.ID, u.Status, id, e.state, h.name)
			}
		}
	}
}

func leftover(c *model.Container, id string) bool {
	for _, l := range c.Leftovers {
		if l.ID == id {
			return true
		}
	}
	return false
}

// checkCreate is asked when an agent boots an enclave: write intent, then act
// (rule 1), and I11: REPLACE boots nothing before the GPUs are proved free.
func (w *world) checkCreate(h *host, id string, k model.ContainerKey) {
	s := w.view.containers[k.String()]
	if s == nil || s.container == nil {
		return
	}
	u := s.state(w.view).Update
	if u == nil || u.New.ID != id {
		// A late or second message. What was proved to be stopped stays stopped.
		if !leftover(s.container, id) && !w.refused[id] && !h.forgotten {
			w.violate("R2", "%s boots, which %s has no more use for", id, s.key)
		}
		return
	}
	if u.BootedAt.IsZero() {
		w.violate("R1", "%s is booted before that is committed", id)
	}
	if u.Strategy != model.Replace || u.Old == nil {
		return
	}
	for _, o := range w.hosts {
		if failed := o.enclaves[failedID(u)]; o == h && failed.unproved() {
			w.violate("I11", "%s boots while %s, which it follows, is %s and holds %v", id, failed.id, failed.state, failed.gpus)
		}
		if old := o.enclaves[u.Old.ID]; old.unproved() {
			w.violate("I11", "%s boots while %s is %s and holds %v", id, old.id, old.state, old.gpus)
		}
	}
}

func failedID(u *model.Update) string {
	if u.Failed == nil {
		return ""
	}
	return u.Failed.ID
}

// calmMeetsNoDeadline: once faults have ended, what waits for an answer gets one
// long before its deadline, after a crash as well as without.
func (w *world) calmMeetsNoDeadline(s *seen, was change) {
	if !w.calm || was.update == nil || s.update == nil || was.update.ID != s.update.ID || was.update.Step == s.update.Step || w.calmSince.IsZero() {
		return
	}
	u, now := was.update, time.Now()
	// A lying or slow machine may have spoilt what began before.
	if now.Add(w.offset).Before(u.Deadline) || u.Deadline.Add(-w.offset).Sub(w.calmSince) < 7*time.Minute || s.container.Teardown != nil {
		return
	}
	switch u.Step {
	case model.StepPrepare, model.StepBoot, model.StepAttest, model.StepSwitch, model.StepStopOld, model.StepStopNew, model.StepHoldRoute:
		w.violate("R6", "%s was in %s until its deadline although nothing stood in the way", u.ID, u.Step)
	}
}

// heldUntilAccepted: a held candidate serves only after HOLD.
func (w *world) heldUntilAccepted(s *seen, was change) {
	u := s.update
	if u == nil || !u.Switched || was.update == nil || was.update.Switched || !u.Options.Hold || u.Restoring {
		return
	}
	for _, h := range u.History {
		if h.Step == model.StepHold {
			return
		}
	}
	w.violate("R9", "%s was to be held and was not", u.ID)
}

// tornDownAfterProof: a container is STOPPED when nothing of it runs, or what may
// is known as a leftover.
func (w *world) tornDownAfterProof(s *seen, was change) {
	if was.container == nil || was.container.Teardown == nil || s.container.Teardown != nil {
		return
	}
	for _, h := range w.hosts {
		for id, e := range h.enclaves {
			if e.key == s.key && e.asked && !e.ended() && !e.lied && !h.forgotten && !leftover(s.container, id) {
				if w.everOf(s, id) {
					w.violate("R10", "%s is %s, and %s is %s on %s", s.key, s.container.Status, id, e.state, h.name)
				}
			}
		}
	}
}

// everOf says whether an enclave is one that the container's last update or
// teardown was about, and not one that was given up on long before.
func (w *world) everOf(s *seen, id string) bool {
	u := s.update
	return u != nil && (u.New.ID == id || u.Old != nil && u.Old.ID == id)
}
