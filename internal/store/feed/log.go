// Package feed is the watching half of a store: a bounded log of recent
// changes, and watchers that are cursors into it.
//
// A watcher buffers nothing. One that is not read costs its cursor and no more,
// and is closed when the history under its cursor is gone. Nothing here starts
// a goroutine.
package feed

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/casemate-dev/casemate/internal/store"
)

// Defaults of a Config.
const (
	DefaultMaxEvents     = 16384
	DefaultMaxBytes      = 64 << 20
	DefaultBookmarkEvery = 1000
)

// Older returns batches from before the log, for a store that keeps them
// elsewhere: those of the changes under prefix after the revision from, oldest
// first, and the revision through which it has looked, which is greater than
// from. It may return fewer than there are. A *store.CompactedError says that
// they are gone.
type Older func(ctx context.Context, prefix string, from int64) (batches []store.Batch, through int64, err error)

// Config is what a Log starts from.
type Config struct {
	// Revision is the store's revision; the log begins after it.
	Revision int64
	// MaxEvents bounds the transactions kept, and also their events.
	MaxEvents int
	// MaxBytes bounds the keys and values kept.
	MaxBytes int
	// BookmarkEvery is the number of revisions without a change under its prefix
	// after which a watcher gets a bookmark.
	BookmarkEvery int64
	// Older is nil if the log is all the history there is.
	Older Older
}

func (c Config) withDefaults() Config {
	if c.MaxEvents <= 0 {
		c.MaxEvents = DefaultMaxEvents
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.BookmarkEvery <= 0 {
		c.BookmarkEvery = DefaultBookmarkEvery
	}
	return c
}

// Log holds the most recent batches, one per revision without a gap.
type Log struct {
	cfg Config

	mu       sync.Mutex
	batches  []store.Batch
	latest   int64
	events   int
	bytes    int
	watchers map[*Watcher]struct{}
	closed   bool
}

// New returns an empty log.
func New(cfg Config) *Log {
	return &Log{
		cfg:      cfg.withDefaults(),
		latest:   cfg.Revision,
		watchers: make(map[*Watcher]struct{}),
	}
}

// Append adds the batch of the next revision, wakes the watchers it concerns,
// and drops what is over the bounds. It panics on a gap: the caller, which alone
// gives out revisions, is then wrong about all of them.
func (l *Log) Append(b store.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.Revision != l.latest+1 {
		panic(fmt.Sprintf("feed: revision %d appended after %d", b.Revision, l.latest))
	}
	l.batches = append(l.batches, b)
	l.latest = b.Revision
	l.events += cost(b)
	l.bytes += size(b)
	l.trim()
	for w := range l.watchers {
		w.appended(b)
	}
}

// trim keeps the newest batch whatever its size, so that a watcher which has
// caught up is never cut off by one large transaction.
func (l *Log) trim() {
	drop := 0
	for drop < len(l.batches)-1 && (l.events > l.cfg.MaxEvents || l.bytes > l.cfg.MaxBytes) {
		l.events -= cost(l.batches[drop])
		l.bytes -= size(l.batches[drop])
		l.batches[drop] = store.Batch{}
		drop++
	}
	l.batches = l.batches[drop:]
}

// cost counts a batch without events as one, so that they are bounded too.
func cost(b store.Batch) int { return max(1, len(b.Events)) }

func size(b store.Batch) int {
	n := 0
	for i := range b.Events {
		n += len(b.Events[i].KV.Key) + len(b.Events[i].KV.Value)
	}
	return n
}

// base is the revision after which the log is complete.
func (l *Log) base() int64 { return l.latest - int64(len(l.batches)) }

// Oldest returns the least revision from which the log alone can serve.
func (l *Log) Oldest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.base()
}

// Latest returns the revision of the last batch appended.
func (l *Log) Latest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest
}

// Watch returns a watcher of the changes under prefix after from. A from ahead
// of the log is the caller's to judge: the watcher begins to deliver after it.
// The error is a *store.CompactedError if there is no Older and the log no
// longer reaches back to from, store.ErrClosed after Close.
func (l *Log) Watch(prefix string, from int64) (*Watcher, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, store.ErrClosed
	}
	if base := l.base(); from < base && l.cfg.Older == nil {
		return nil, &store.CompactedError{From: from, Oldest: base}
	}
	w := &Watcher{log: l, prefix: prefix, position: from, reported: from, wake: make(chan struct{}, 1)}
	l.watchers[w] = struct{}{}
	return w, nil
}

// Close ends every watcher with store.ErrClosed. It is idempotent.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for w := range l.watchers {
		w.end(store.ErrClosed)
	}
}

// filter returns the events of b under prefix, sharing them when that is all.
func filter(b store.Batch, prefix string) []store.Event {
	matching := 0
	for i := range b.Events {
		if strings.HasPrefix(b.Events[i].KV.Key, prefix) {
			matching++
		}
	}
	if matching == len(b.Events) || matching == 0 {
		return b.Events[:matching:matching]
	}
	events := make([]store.Event, 0, matching)
	for _, e := range b.Events {
		if strings.HasPrefix(e.KV.Key, prefix) {
			events = append(events, e)
		}
	}
	return events
}

func matches(b store.Batch, prefix string) bool {
	for i := range b.Events {
		if strings.HasPrefix(b.Events[i].KV.Key, prefix) {
			return true
		}
	}
	return false
}
