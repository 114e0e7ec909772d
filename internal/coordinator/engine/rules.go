package engine

import (
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// rule is one step: what it changes when entered, which effects it needs, how
// long it may take, and its edges. Every step that is not an end has a deadline
// edge and a force edge; cancel is one edge for all (see cancel.go).
type rule struct {
	// enter changes the state, in the same commit in which the step is entered.
	enter func(*transition)
	// effects are carried out after that commit, and again after a restart.
	effects func(*transition) []Effect
	// limit returns the absolute time by which the step has to be over.
	limit func(*transition) time.Time
	// late is the edge at the deadline, forced the edge when a person says so.
	late, forced func(*transition)
}

// rules is the table of the engine. It is filled in init because its functions
// refer back to it.
var rules map[model.Step]rule

func init() {
	rules = map[model.Step]rule{
		model.StepReserve: {
			enter: func(t *transition) { t.enter(model.StepPrepare) },
			limit: pendingLimit, late: failLate("RESERVE_TIMEOUT"), forced: failForced,
		},
		model.StepPrepare: {
			effects: prepareEffects,
			limit:   pendingLimit, late: failLate("PREPARE_TIMEOUT"), forced: failForced,
		},
		model.StepHoldRoute: {
			enter:   (*transition).holdRoute,
			effects: ackEffect,
			limit:   after(func(l Limits) time.Duration { return l.Ack }),
			late:    gatewaySilent((*transition).afterHoldRoute), forced: gatewaySilent((*transition).afterHoldRoute),
		},
		model.StepStopOld: {
			enter:   (*transition).beginStopOld,
			effects: stopOldEffects,
			limit:   after(func(l Limits) time.Duration { return l.Stop + l.StopMargin }),
			late:    (*transition).oldWontStop, forced: (*transition).oldWontStop,
		},
		model.StepAwaitFree: {
			effects: freeEffects,
			limit:   freeLimit,
			late:    failLate("GPUS_NOT_FREE"), forced: failForced,
		},
		model.StepBoot: {
			enter:   (*transition).beginBoot,
			effects: bootEffects,
			limit:   pendingLimit, late: failLate("BOOT_TIMEOUT"), forced: failForced,
		},
		model.StepAttest: {
			enter:   (*transition).beginAttest,
			effects: attestEffects,
			limit:   startedLimit, late: failLate("ATTEST_TIMEOUT"), forced: failForced,
		},
		model.StepHealth: {
			effects: observeNew,
			limit:   startedLimit, late: failLate("HEALTH_TIMEOUT"), forced: failForced,
		},
		model.StepHold: {
			effects: observeNew,
			limit:   after(func(l Limits) time.Duration { return l.Hold }),
			late:    (*transition).holdExpired, forced: failForced,
		},
		model.StepSwitch: {
			enter:   (*transition).switchRoute,
			effects: ackEffect,
			limit:   after(func(l Limits) time.Duration { return l.Ack }),
			late:    gatewaySilent((*transition).afterSwitch), forced: gatewaySilent((*transition).afterSwitch),
		},
		model.StepDrain: {
			effects: func(t *transition) []Effect { return []Effect{AwaitDrain{t.s.Update.Old.ID}} },
			limit:   drainLimit, late: (*transition).drainOver, forced: (*transition).drainOver,
		},
		model.StepStopNew: {
			effects: stopNewEffects,
			limit:   after(func(l Limits) time.Duration { return l.Stop + l.StopMargin }),
			late:    (*transition).newWontStop, forced: (*transition).newWontStop,
		},
		model.StepRelease: {
			enter: (*transition).release,
			limit: pendingLimit, late: (*transition).release, forced: (*transition).release,
		},
		model.StepDone: {},
	}
}

// enter leaves the current step and enters another.
func (t *transition) enter(step model.Step) {
	u := t.s.Update
	if n := len(u.History); n > 0 {
		u.History[n-1].Left = t.now
	}
	u.History = append(u.History, model.StepRecord{Step: step, Entered: t.now})
	u.Step = step
	t.changed, t.entered = true, true
	t.keepHost()
	r := rules[step]
	if r.limit != nil {
		u.Deadline = r.limit(t)
	}
	u.Status = statusOf(u)
	if r.enter != nil {
		r.enter(t)
	}
}

// note adds to what is told of the current step.
func (t *transition) note(text string) {
	h := t.s.Update.History
	if n := len(h); n > 0 && h[n-1].Note == "" {
		h[n-1].Note = text
	}
}

func (t *transition) stepEffects() []Effect {
	u := t.active()
	if u == nil || rules[u.Step].effects == nil {
		return nil
	}
	return rules[u.Step].effects(t)
}

// statusOf maps a step to what users see. Steps of tearing down keep the status
// in which the update was stopped, until nothing is left running.
func statusOf(u *model.Update) model.UpdateStatus {
	switch u.Step {
	case model.StepReserve, model.StepPrepare, model.StepHoldRoute, model.StepAwaitFree, model.StepBoot:
		return model.Pending
	case model.StepAttest, model.StepHealth:
		return model.Started
	case model.StepHold, model.StepSwitch:
		return model.Ready
	case model.StepDrain, model.StepStopOld:
		if u.Switched {
			return model.Ready
		}
		return model.Pending
	default:
		return u.Status
	}
}

func pendingLimit(t *transition) time.Time { return t.s.Update.PendingUntil }

func startedLimit(t *transition) time.Time { return t.s.Update.StartedUntil }

// freeLimit is the host's own; one that a candidate was moved to has no longer
// than the update has.
func freeLimit(t *transition) time.Time {
	at := t.now.Add(t.limits.Free)
	if u := t.s.Update; u.Moved && u.PendingUntil.Before(at) {
		return u.PendingUntil
	}
	return at
}

func drainLimit(t *transition) time.Time {
	if !t.s.Update.Switched {
		return t.now.Add(t.drainTimeout() - GuestDrain)
	}
	return t.now.Add(t.drainTimeout())
}

// drainTimeout is how long connections to the old version may go on.
func (t *transition) drainTimeout() time.Duration {
	if d := t.s.Update.Options.DrainTimeout; d > 0 {
		return d
	}
	return t.limits.Drain
}

func after(d func(Limits) time.Duration) func(*transition) time.Time {
	return func(t *transition) time.Time { return t.now.Add(d(t.limits)) }
}

func observeNew(t *transition) []Effect { return t.askingElsewhere(Observe{t.s.Update.New}) }

func ackEffect(t *transition) []Effect {
	return []Effect{AwaitAck{t.s.Route.Domain, t.s.Route.Generation}}
}

func prepareEffects(t *transition) []Effect {
	return t.askingElsewhere(Prepare{t.s.Update.New})
}

func bootEffects(t *transition) []Effect {
	u := t.s.Update
	if u.Replanning && !u.HostSilent {
		return []Effect{Replan{u.New}}
	}
	return t.askingElsewhere(Create{u.New}, Observe{u.New})
}

func attestEffects(t *transition) []Effect {
	return t.askingElsewhere(Verify{t.s.Update.New}, Observe{t.s.Update.New})
}

func stopOldEffects(t *transition) []Effect {
	u := t.s.Update
	halt := Halt{*u.Old, t.limits.Stop, "replaced by " + u.New.ID}
	if u.Switched {
		return []Effect{halt}
	}
	return []Effect{halt, AwaitDrain{u.Old.ID}} // shows what its guest still lets finish
}

func stopNewEffects(t *transition) []Effect {
	u := t.s.Update
	return []Effect{Halt{u.New, t.limits.Stop, u.Reason}}
}

func freeEffects(t *transition) []Effect {
	u := t.s.Update
	e := AwaitFree{Enclave: u.New}
	for _, ref := range []*model.EnclaveRef{u.Old, u.Failed} {
		if ref != nil && ref.Host == u.New.Host {
			e.After = append(e.After, *ref)
		}
	}
	return t.askingElsewhere(e)
}

// tick takes the deadlines that have passed.
func (t *transition) tick() {
	if u := t.active(); u != nil && !t.now.Before(u.Deadline) {
		rules[u.Step].late(t)
	}
	if d := t.s.Container.Teardown; d != nil && !t.now.Before(d.Deadline) {
		t.teardownLate()
	}
	if r := t.s.Container.Restart; r != nil && !r.At.IsZero() && !t.now.Before(r.At) {
		t.askPlace()
	}
}
