package runner

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

// actor is one container being worked on. Its queue is guarded by Runner.mu;
// everything else belongs to the goroutine that drains the queue.
type actor struct {
	queue   []task
	running bool
	// failing is why the event at work can't be committed, while it is tried again
	// and again. Requests are told instead of being kept waiting.
	failing error

	// effects ends what is under way for the current step.
	endEffects context.CancelFunc
	effects    context.Context
	timer      *time.Timer
	// doubt is set while it is not known whether the last commit was applied.
	doubt *doubt
}

// doubt is a commit that failed in a way that leaves open whether it was applied.
type doubt struct{ before, next map[string]model.Reservation }

type task func(ctx context.Context, a *actor)

type loader func(ctx context.Context) (*records.Loaded, error)

// enqueue adds a task for a container; false if the runner does not run.
func (r *Runner) enqueue(k model.ContainerKey, t task) bool { return r.line(k, true, t) }

// line is enqueue for a container whose turn comes first, or later.
func (r *Runner) line(k model.ContainerKey, first bool, t task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil || r.ctx.Err() != nil {
		return false
	}
	a := r.actors[k]
	if a == nil {
		a = &actor{}
		r.actors[k] = a
	}
	a.queue = append(a.queue, t)
	if !a.running {
		a.running = true
		if first {
			r.turns.first = append(r.turns.first, turn{k, a})
		} else {
			r.turns.later = append(r.turns.later, turn{k, a})
		}
		r.hire()
	}
	return true
}

// drain runs the queue until it is empty.
func (r *Runner) drain(ctx context.Context, k model.ContainerKey, a *actor) {
	for {
		r.mu.Lock()
		if len(a.queue) == 0 || ctx.Err() != nil {
			a.running = false
			if ctx.Err() != nil {
				a.stop()
			}
			if a.timer == nil && a.effects == nil {
				delete(r.actors, k)
			}
			r.mu.Unlock()
			return
		}
		t := a.queue[0]
		a.queue = a.queue[1:]
		r.mu.Unlock()
		t(ctx, a)
	}
}

func (a *actor) stop() {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	a.cancelEffects()
}

func (a *actor) cancelEffects() {
	if a.endEffects != nil {
		a.endEffects()
	}
	a.endEffects, a.effects = nil, nil
}

// post hands an event to a container's actor. An event that can't be committed
// because the store fails is tried again: what agents and gateways tell must not
// be lost.
func (r *Runner) post(k model.ContainerKey, ev engine.Event) {
	r.postDecided(k, eventName(ev), r.believed(ev))
}

// believed decides on an event when the container's turn has come. A host that was
// set up anew since it said something is asked anew instead: what it said was of the
// enclaves that it had, and one of the same id may be on it now.
func (r *Runner) believed(ev engine.Event) Decide {
	return func(context.Context, *records.Loaded) (engine.Event, records.Extra, error) {
		if o, ok := ev.(engine.Observed); ok && o.Incarnation != "" && o.Incarnation != r.cfg.Agents.Incarnation(o.Host) {
			return engine.Resume{}, records.Extra{}, nil
		}
		return ev, records.Extra{}, nil
	}
}

// errUntold says that there is no event: the host can't tell.
var errUntold = errors.New("the host is out of reach")

// observe posts what a host says of an enclave when the container's turn has
// come: what was read before it could be older than what the agent has told and
// been believed meanwhile.
func (r *Runner) observe(k model.ContainerKey, ref model.EnclaveRef) {
	r.postDecided(k, "observe", func(context.Context, *records.Loaded) (engine.Event, records.Extra, error) {
		o, known := r.cfg.Agents.Observe(ref.Host, ref.ID)
		if !known {
			return nil, records.Extra{}, errUntold
		}
		return engine.Observed{Observation: o}, records.Extra{}, nil
	})
}

func (r *Runner) postDecided(k model.ContainerKey, name string, decide Decide) {
	r.enqueue(k, r.posted(k, name, decide))
}

// posted is the task of an event that must not be lost.
func (r *Runner) posted(k model.ContainerKey, name string, decide Decide) task {
	return func(ctx context.Context, a *actor) {
		load := func(ctx context.Context) (*records.Loaded, error) { return r.cfg.Records.Load(ctx, k) }
		paused := false
		resume := func() {
			if paused {
				r.goOn()
			}
			paused = false
		}
		_, err := backoff.Retry(ctx, func() (struct{}, error) {
			resume()
			_, err := r.apply(ctx, k, a, load, decide)
			err = r.final(k, name, err)
			r.setFailing(a, err)
			return struct{}{}, err
		}, backoff.WithBackOff(r.cfg.Backoff()), backoff.WithMaxElapsedTime(0),
			backoff.WithNotify(func(error, time.Duration) {
				paused = true
				r.pause()
			}))
		resume()
		if err != nil && ctx.Err() == nil {
			r.cfg.Log.Error("event dropped", "container", k.String(), "error", err)
		}
	}
}

func (r *Runner) setFailing(a *actor, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.failing = err
}

// failing returns why nothing of a container can be committed at present.
func (r *Runner) failing(k model.ContainerKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.actors[k]; a != nil {
		return a.failing
	}
	return nil
}

// final sorts the errors of committing an event: nil and refusals end it, faults
// of the store are retried.
func (r *Runner) final(k model.ContainerKey, event string, err error) error {
	var refused *engine.Refused
	switch {
	case err == nil, errors.As(err, &refused), errors.Is(err, store.ErrNotFound), errors.Is(err, errUntold):
		return nil
	case errors.Is(err, records.ErrFenced), errors.Is(err, store.ErrClosed):
		return backoff.Permanent(err)
	}
	r.cfg.Log.Error("commit failed, trying again", "container", k.String(), "event", event, "error", err)
	return err
}

// conflicts is how often a turn is taken again because records have changed
// since they were read. A condition of the caller's own that never holds comes
// to an end by it.
const conflicts = 16

// apply is one turn: load, decide, step, commit, and then the effects.
func (r *Runner) apply(ctx context.Context, k model.ContainerKey, a *actor, load loader, decide Decide) (*records.Loaded, error) {
	for try := 1; ; try++ {
		s, err := r.turn(ctx, k, a, load, decide)
		if errors.Is(err, store.ErrConflict) && ctx.Err() == nil && try < conflicts {
			continue
		}
		if errors.Is(err, records.ErrFenced) {
			r.fatal(err)
		}
		return s, err
	}
}

func (r *Runner) turn(ctx context.Context, k model.ContainerKey, a *actor, load loader, decide Decide) (*records.Loaded, error) {
	if err := r.resolve(ctx, k, a); err != nil {
		return nil, err
	}
	s, err := load(ctx)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			a.stop()
		}
		return nil, err
	}
	ev, extra, err := decide(ctx, s)
	if err != nil {
		return nil, err
	}
	res, err := r.cfg.Engine.Step(s.State, ev, r.cfg.Now())
	if err != nil {
		return nil, err
	}
	saved := s
	if res.Changed || len(extra.Ops) > 0 {
		if saved, err = r.cfg.Records.Save(ctx, s, res.State, res.Log, extra); err != nil {
			r.doubts(k, a, err, s.Reservations, res.State.Reservations)
			return nil, err
		}
		r.promises(s.Reservations, saved.Reservations, res.State.Deleted)
	}
	r.tell(k, res.Log)
	r.follow(ctx, k, a, res)
	return &records.Loaded{State: res.State, ContainerRevision: saved.ContainerRevision, UpdateRevision: saved.UpdateRevision}, nil
}

func (r *Runner) tell(k model.ContainerKey, log []model.Event) {
	for _, ev := range log {
		r.cfg.Log.Info(ev.Text, "container", k.String(), "update", ev.Update, "host", ev.Host, "reason", ev.Reason)
	}
}

// promises keeps the fleet's promises equal to the committed reservations.
func (r *Runner) promises(before, now map[string]model.Reservation, deleted bool) {
	for id, p := range now {
		if !deleted {
			r.cfg.Agents.Promise(p)
		}
		if before[id].Host != "" && before[id].Host != p.Host {
			r.cfg.Agents.Unpromise(before[id])
		}
	}
	for id, p := range before {
		if _, ok := now[id]; !ok || deleted {
			r.cfg.Agents.Unpromise(p)
		}
	}
}

// follow starts the effects and arms the deadline.
func (r *Runner) follow(ctx context.Context, k model.ContainerKey, a *actor, res engine.Result) {
	if res.Entered || res.Resumed {
		a.cancelEffects()
	}
	if len(res.Effects) > 0 && a.effects == nil {
		a.effects, a.endEffects = context.WithCancel(ctx)
	}
	for _, e := range res.Effects {
		r.work.Add(1)
		go func(ctx context.Context) {
			defer r.work.Done()
			r.carryOut(ctx, k, res.State, e)
		}(a.effects)
	}
	r.arm(k, a, res.State)
}

// lookAgain is the longest time between two looks at a deadline. Timers don't see that
// the clock is set: a coordinator that began with a clock years behind would wait as
// long for what was written by a right one.
const lookAgain = 10 * time.Minute

func (r *Runner) arm(k model.ContainerKey, a *actor, s engine.State) {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	at := engine.Deadline(s)
	if at.IsZero() || s.Deleted {
		a.cancelEffects()
		return
	}
	a.timer = time.AfterFunc(min(max(at.Sub(r.cfg.Now()), 0), lookAgain), func() { r.post(k, engine.Tick{}) })
}
