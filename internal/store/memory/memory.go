// Package memory is a store.Store that lives and dies with the process: for
// tests, and for simulations that make tens of thousands of steps a second.
//
// It starts no goroutine and reads no clock, so that what it does depends on
// nothing but the order of the calls made.
package memory

import (
	"bytes"
	"context"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/feed"
)

// Config bounds the history kept for watchers. The zero Config has defaults for
// everything.
type Config struct {
	// HistoryEvents is the number of events kept; default feed.DefaultMaxEvents.
	HistoryEvents int
	// HistoryBytes bounds their keys and values; default feed.DefaultMaxBytes.
	HistoryBytes int
	// BookmarkEvery is the number of revisions between bookmarks of an idle
	// watcher; default feed.DefaultBookmarkEvery.
	BookmarkEvery int64
}

// Store implements store.Store in memory.
type Store struct {
	cfg Config

	mu       sync.RWMutex
	records  *btree.Map[string, store.KV]
	revision int64
	log      *feed.Log
	closed   bool
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New(cfg Config) *Store {
	return newStore(cfg, new(btree.Map[string, store.KV]), 0)
}

func newStore(cfg Config, records *btree.Map[string, store.KV], revision int64) *Store {
	return &Store{
		cfg:      cfg,
		records:  records,
		revision: revision,
		log: feed.New(feed.Config{
			Revision:      revision,
			MaxEvents:     cfg.HistoryEvents,
			MaxBytes:      cfg.HistoryBytes,
			BookmarkEvery: cfg.BookmarkEvery,
		}),
	}
}

// Restored returns an independent store as it would be after a backup taken now
// had been restored: the same records, no history, and a revision that has leapt
// by store.RestoreLeap.
func (s *Store) Restored() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return newStore(s.cfg, s.records.Copy(), s.revision+store.RestoreLeap)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.KV, error) {
	if err := ctx.Err(); err != nil {
		return store.KV{}, err
	}
	if err := store.CheckKey(key); err != nil {
		return store.KV{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.KV{}, store.ErrClosed
	}
	kv, ok := s.records.Get(key)
	if !ok {
		return store.KV{}, store.ErrNotFound
	}
	return kv, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, opts store.ListOptions) (store.ListResult, error) {
	if err := ctx.Err(); err != nil {
		return store.ListResult{}, err
	}
	if err := store.CheckList(prefix, opts); err != nil {
		return store.ListResult{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.ListResult{}, store.ErrClosed
	}
	res := store.ListResult{Revision: s.revision}
	if opts.Limit > 0 {
		res.KVs = make([]store.KV, 0, min(opts.Limit, s.records.Len()))
	}
	s.records.Ascend(max(prefix, opts.After), func(key string, kv store.KV) bool {
		if key == opts.After {
			return true
		}
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		if opts.Limit > 0 && len(res.KVs) == opts.Limit {
			res.More = true
			return false
		}
		res.KVs = append(res.KVs, kv)
		return true
	})
	return res, nil
}

// Txn implements store.Store.
func (s *Store) Txn(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := store.CheckTxn(compares, ops); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	for _, c := range compares {
		have, _ := s.records.Get(c.Key)
		if err := c.Check(have.ModRevision); err != nil {
			return 0, err
		}
	}
	if len(ops) == 0 {
		return s.revision, nil
	}
	s.revision++
	s.log.Append(store.Batch{Revision: s.revision, Events: s.apply(ops)})
	return s.revision, nil
}

// apply changes the records and returns what happened. The lock is held.
func (s *Store) apply(ops []store.Op) []store.Event {
	events := make([]store.Event, 0, len(ops))
	for _, op := range ops {
		if op.Kind == store.OpDelete {
			if _, ok := s.records.Delete(op.Key); ok {
				events = append(events, store.Event{
					Type: store.EventDelete,
					KV:   store.KV{Key: op.Key, ModRevision: s.revision},
				})
			}
			continue
		}
		kv := store.KV{Key: op.Key, Value: bytes.Clone(op.Value), CreateRevision: s.revision, ModRevision: s.revision, Version: 1}
		if old, ok := s.records.Get(op.Key); ok {
			kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
		}
		s.records.Set(op.Key, kv)
		events = append(events, store.Event{Type: store.EventPut, KV: kv})
	}
	return events
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, from int64) (store.Watcher, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := store.CheckWatch(prefix, from); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	if from > s.revision {
		return nil, store.ErrFutureRevision
	}
	return s.watch(prefix, from)
}

// watch keeps a nil *feed.Watcher from becoming a store.Watcher that is not nil.
func (s *Store) watch(prefix string, from int64) (store.Watcher, error) {
	w, err := s.log.Watch(prefix, from)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Revision implements store.Store.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	return s.revision, nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.log.Close()
	return nil
}
