package runner

import (
	"context"
	"errors"
	"maps"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

// doubts notes that a commit failed and may yet have been applied: a disk that
// fails, or a store that is cut off, can't tell. What was promised by either
// state stands until it is known, and the container is looked at again even if
// nobody asks.
func (r *Runner) doubts(k model.ContainerKey, a *actor, err error, before, next map[string]model.Reservation) {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, records.ErrFenced) || errors.Is(err, store.ErrFull) {
		return
	}
	first := a.doubt == nil
	if first {
		a.doubt = &doubt{before: maps.Clone(before), next: map[string]model.Reservation{}}
	}
	maps.Copy(a.doubt.next, next)
	for _, p := range next {
		r.cfg.Agents.Promise(p)
	}
	if first {
		r.post(k, engine.Resume{})
	}
}

// resolve reads what became of a commit in doubt and takes up the effects of the
// step that is found, as after a crash.
func (r *Runner) resolve(ctx context.Context, k model.ContainerKey, a *actor) error {
	if a.doubt == nil {
		return nil
	}
	known := maps.Clone(a.doubt.next)
	maps.Copy(known, a.doubt.before)
	s, err := r.cfg.Records.Load(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		r.promises(known, nil, true)
		r.promises(a.doubt.next, nil, true)
		a.doubt = nil
		a.stop()
		return nil
	}
	if err != nil {
		return err
	}
	res, err := r.cfg.Engine.Step(s.State, engine.Resume{}, r.cfg.Now())
	if err != nil {
		return err
	}
	r.promises(known, s.Reservations, false)
	r.promises(a.doubt.next, s.Reservations, false)
	a.doubt = nil
	r.follow(ctx, k, a, res)
	return nil
}
