package engine

import (
	"fmt"
	"maps"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// State is everything the engine knows of one container.
type State struct {
	Container *model.Container
	// Update is the update in progress; nil if there is none.
	Update *model.Update
	// Route is the container's route.
	Route *model.Route
	// Reservations are the container's, by enclave id.
	Reservations map[string]model.Reservation
	// Deleted says that the container is gone: all its records go.
	Deleted bool
}

func (s State) clone() State {
	s.Container = s.Container.Clone()
	if s.Update != nil {
		s.Update = s.Update.Clone()
	}
	if s.Route != nil {
		r := *s.Route
		s.Route = &r
	}
	s.Reservations = maps.Clone(s.Reservations)
	return s
}

// Result is what an event leads to.
type Result struct {
	State State
	// Changed says that State differs and must be committed before the effects.
	Changed bool
	// Entered says that a step was entered, Resumed that its effects were asked for
	// again: those that are still under way are of no more use, and Effects has all
	// that are.
	Entered, Resumed bool
	Effects          []Effect
	// Log is what there is to tell, to be committed with the state.
	Log []model.Event
}

// Engine holds the limits; it is otherwise stateless and safe for concurrent use.
type Engine struct {
	Limits Limits
	// Restored is past every route generation from before the store was restored
	// from a backup; 0 if it never was.
	Restored int64
}

// Step returns what an event at a point in time leads to. The state given is
// not changed. A request that can't be granted returns a [*Refused].
func (e Engine) Step(s State, ev Event, now time.Time) (Result, error) {
	t := &transition{s: s.clone(), now: now.UTC(), limits: e.Limits, restored: e.Restored}
	if err := t.apply(ev); err != nil {
		return Result{State: s}, err
	}
	t.endSilence()
	_, resumed := ev.(Resume)
	resumed = resumed || t.again
	if t.entered || t.tornStep || resumed {
		t.effects = append(t.effects, t.stepEffects()...)
		t.effects = append(t.effects, t.teardownEffects()...)
		t.effects = append(t.effects, t.restartEffects()...)
	}
	if t.changed {
		t.s.Container.Updated = t.now
	}
	return Result{State: t.s, Changed: t.changed, Entered: t.entered || t.tornStep, Resumed: resumed, Effects: t.effects, Log: t.log}, nil
}

// transition is one step being worked out.
type transition struct {
	s        State
	now      time.Time
	restored int64
	limits   Limits
	effects  []Effect
	log      []model.Event
	// changed: the state differs; entered: an update step was entered;
	// tornStep: a teardown step was; again: the effects of the present ones are
	// needed once more.
	changed, entered, tornStep, again bool
}

func (t *transition) apply(ev Event) error {
	switch ev := ev.(type) {
	case Start:
		return t.start(ev)
	case Accept:
		return t.accept(ev)
	case Cancel:
		return t.cancel(ev)
	case Force:
		return t.force(ev)
	case Stop:
		return t.stop(ev.Kind)
	case Observed:
		t.observed(ev.Observation)
	case HostGone:
		t.hostGone(ev.Host)
	case Rejudged:
		t.rejudged(ev)
	case Tick:
		t.tick()
	case Resume:
	default:
		return t.answer(ev)
	}
	return nil
}

// answer takes what came of an effect.
func (t *transition) answer(ev Event) error {
	switch ev := ev.(type) {
	case Prepared:
		t.prepared(ev)
	case Created:
		t.created(ev)
	case Verified:
		t.verified(ev)
	case Replanned:
		t.replanned(ev)
	case Placed:
		t.placed(ev)
	case Freed:
		t.freed(ev)
	case Acknowledged:
		t.acknowledged(ev)
	case Drained:
		t.drained(ev)
	case Withdrawn:
		t.withdrawn(ev)
	default:
		return fmt.Errorf("engine: unknown event %T", ev)
	}
	return nil
}

// active returns the update if it has not ended.
func (t *transition) active() *model.Update {
	if t.s.Update == nil || t.s.Update.Status.Ended() {
		return nil
	}
	return t.s.Update
}

func (t *transition) tell(severity model.Severity, reason, format string, args ...any) {
	ev := model.Event{
		Org: t.s.Container.Org, Container: t.s.Container.Name,
		Severity: severity, Reason: reason, Text: fmt.Sprintf(format, args...), Time: t.now,
	}
	if t.s.Update != nil {
		ev.Update, ev.Host = t.s.Update.ID, t.s.Update.New.Host
	}
	t.log = append(t.log, ev)
}
