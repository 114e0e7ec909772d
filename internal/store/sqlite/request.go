package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/casemate-dev/casemate/internal/store"
)

// A group is committed together. The bounds keep the wait of its first member
// short and the write-ahead log small.
const (
	groupRequests = 512
	groupBytes    = 8 << 20
)

// request is a transaction on its way to the writer and back. Once taken up it
// belongs to the writer until done is closed.
type request struct {
	compares []store.Compare
	ops      []store.Op

	revision int64
	err      error
	events   []store.Event
	done     chan struct{}
}

func (r *request) size() int {
	n := 0
	for i := range r.ops {
		n += len(r.ops[i].Key) + len(r.ops[i].Value)
	}
	return n
}

// Txn implements store.Store.
func (s *Store) Txn(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := store.CheckTxn(compares, ops); err != nil {
		return 0, err
	}
	if s.closed.Load() {
		return 0, store.ErrClosed
	}
	r := &request{compares: compares, ops: ops, done: make(chan struct{})}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.closing:
		return 0, store.ErrClosed
	}
	select {
	case <-r.done:
		return r.revision, r.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", store.ErrOutcomeUnknown, ctx.Err())
	}
}

// write is the writer's goroutine: it alone uses w.
func (s *Store) write(w *writer) {
	defer close(s.written)
	for {
		select {
		case <-s.closing:
			s.closeErr = w.close()
			return
		case r := <-s.requests:
			s.serve(w, s.gather(r))
		}
	}
}

// gather takes up, with first, everything that waits already.
func (s *Store) gather(first *request) []*request {
	// Callers answered just now are about to come back.
	runtime.Gosched()
	group, bytes := []*request{first}, first.size()
	for len(group) < groupRequests && bytes < groupBytes {
		select {
		case r := <-s.requests:
			group = append(group, r)
			bytes += r.size()
		default:
			return group
		}
	}
	return group
}

// serve commits a group. When the disk is full its members are tried one by
// one, so that a large one does not fail the small ones with it.
func (s *Store) serve(w *writer, group []*request) {
	err := w.commit(group)
	if errors.Is(err, store.ErrFull) && len(group) > 1 {
		for _, r := range group {
			s.answer([]*request{r}, w.commit([]*request{r}))
		}
		return
	}
	s.answer(group, err)
	w.cfg.at("answered")
}

// answer publishes what was committed, then tells the callers; err is what
// failed for all of them.
func (s *Store) answer(group []*request, err error) {
	for _, r := range group {
		switch {
		case err != nil:
			r.revision, r.err = 0, err
		case r.err == nil && len(r.ops) > 0:
			s.log.Append(store.Batch{Revision: r.revision, Events: r.events})
		}
		close(r.done)
	}
}
