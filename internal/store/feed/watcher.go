package feed

import (
	"context"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/internal/store"
)

// scanLimit is how many batches one look into the log passes at most, so that a
// watcher far behind does not hold up the writer.
const scanLimit = 512

// Watcher is a cursor into a Log. It implements store.Watcher.
type Watcher struct {
	log    *Log
	prefix string
	// wake has room for one: a wake-up for a reader that is not waiting is kept
	// until it does.
	wake chan struct{}
	// older holds what was fetched from before the log; the reader's own.
	older []store.Batch

	// The log's mutex guards the rest.

	// position is the revision through which everything has been delivered or
	// did not concern this watcher.
	position int64
	// reported is the revision of the last batch or bookmark delivered.
	reported int64
	synced   bool
	err      error
}

var _ store.Watcher = (*Watcher)(nil)

// Next implements store.Watcher.
func (w *Watcher) Next(ctx context.Context) (store.Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return store.Batch{}, err
		}
		b, outcome, err := w.look()
		switch outcome {
		case found, failed:
			return b, err
		case behind:
			if err := w.fetchOlder(ctx); err != nil {
				return store.Batch{}, err
			}
		case caughtUp:
			select {
			case <-w.wake:
			case <-ctx.Done():
			}
		}
	}
}

// Close implements store.Watcher.
func (w *Watcher) Close() {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.end(store.ErrClosed)
}

type outcome uint8

const (
	// again: scanLimit batches were passed and none concerned this watcher.
	again outcome = iota
	found
	failed
	// behind: the next revision is no longer in the log.
	behind
	caughtUp
)

// look takes one step along the log.
func (w *Watcher) look() (store.Batch, outcome, error) {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.err != nil {
		return store.Batch{}, failed, w.err
	}
	if len(w.older) > 0 {
		b := w.older[0]
		w.older = w.older[1:]
		w.reported = b.Revision
		return b, found, nil
	}
	if w.position < l.base() {
		if l.cfg.Older == nil {
			w.end(store.ErrSlowReader)
			return store.Batch{}, failed, w.err
		}
		return store.Batch{}, behind, nil
	}
	return w.scan()
}

func (w *Watcher) scan() (store.Batch, outcome, error) {
	l := w.log
	for range scanLimit {
		if w.position >= l.latest {
			return w.atEnd()
		}
		b := l.batches[w.position-l.base()]
		w.position = b.Revision
		if events := filter(b, w.prefix); len(events) > 0 {
			w.reported = b.Revision
			return store.Batch{Revision: b.Revision, Events: events}, found, nil
		}
	}
	return store.Batch{}, again, nil
}

// atEnd gives a bookmark where one is due.
func (w *Watcher) atEnd() (store.Batch, outcome, error) {
	if w.synced && w.position-w.reported < w.log.cfg.BookmarkEvery {
		return store.Batch{}, caughtUp, nil
	}
	w.synced = true
	w.reported = w.position
	return store.Batch{Revision: w.position}, found, nil
}

// fetchOlder reads a page of history from before the log.
func (w *Watcher) fetchOlder(ctx context.Context) error {
	w.log.mu.Lock()
	from := w.position
	w.log.mu.Unlock()

	batches, through, err := w.log.cfg.Older(ctx, w.prefix, from)

	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if errors.Is(err, store.ErrCompacted) {
		w.end(store.ErrSlowReader)
		return w.err
	}
	if err != nil {
		return fmt.Errorf("reading history after revision %d: %w", from, err)
	}
	w.older, w.position = batches, through
	return nil
}

// appended moves a watcher that has caught up along with the log when b does
// not concern it, and wakes it when it does. The log's mutex is held.
func (w *Watcher) appended(b store.Batch) {
	if w.position != b.Revision-1 {
		return
	}
	if !matches(b, w.prefix) {
		w.position = b.Revision
		if w.position-w.reported < w.log.cfg.BookmarkEvery {
			return
		}
	}
	w.signal()
}

func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// end makes err the final error. The log's mutex is held.
func (w *Watcher) end(err error) {
	if w.err == nil {
		w.err = err
		delete(w.log.watchers, w)
		w.signal()
	}
}
