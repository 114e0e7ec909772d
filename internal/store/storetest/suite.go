// Package storetest is the contract of store.Store as a test suite. Every
// implementation runs all of it.
package storetest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/store"
)

// Options is what a test needs of the store it opens.
type Options struct {
	// Dir is a folder of the test's own. A persistent store opened again with
	// the same Dir holds what it held.
	Dir string
	// HistoryEvents is about how many events are kept for watchers; 0 is the
	// default of the implementation. The suite allows for ten times as many.
	HistoryEvents int
	// BookmarkEvery is the number of revisions between bookmarks of an idle
	// watcher; 0 is the default of the implementation.
	BookmarkEvery int64
}

// Suite names the implementation under test.
type Suite struct {
	// Open returns the store in opts.Dir. The suite closes it.
	Open func(opts Options) (store.Store, error)
	// Persistent says that a store outlives Close.
	Persistent bool
}

// patience bounds every test, so that none hangs: far more than hundreds of commits
// take on a disk that others keep busy.
const patience = 3 * time.Minute

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	for _, group := range []map[string]func(*testing.T, Suite){
		recordRules, txnRules, listRules, watchRules, historyRules, lifeRules, propertyRules,
	} {
		for name, rule := range group {
			t.Run(name, func(t *testing.T) { rule(t, s) })
		}
	}
	if s.Persistent {
		for name, rule := range persistenceRules {
			t.Run(name, func(t *testing.T) { rule(t, s) })
		}
	}
}

// open returns a store for one test, closed at its end.
func (s Suite) open(t *testing.T, opts Options) store.Store {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	st, err := s.Open(opts)
	if err != nil {
		t.Fatalf("opening the store: %v", err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return st
}

// testContext ends with the test, or after patience.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// mustTxn applies ops without conditions.
func mustTxn(ctx context.Context, t *testing.T, st store.Store, ops ...store.Op) int64 {
	t.Helper()
	rev, err := st.Txn(ctx, nil, ops)
	if err != nil {
		t.Fatalf("txn: %v", err)
	}
	return rev
}

func mustGet(ctx context.Context, t *testing.T, st store.Store, key string) store.KV {
	t.Helper()
	kv, err := st.Get(ctx, key)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return kv
}

func mustList(ctx context.Context, t *testing.T, st store.Store, prefix string, opts store.ListOptions) store.ListResult {
	t.Helper()
	res, err := st.List(ctx, prefix, opts)
	if err != nil {
		t.Fatalf("list %q: %v", prefix, err)
	}
	return res
}

func mustWatch(ctx context.Context, t *testing.T, st store.Store, prefix string, from int64) store.Watcher {
	t.Helper()
	w, err := st.Watch(ctx, prefix, from)
	if err != nil {
		t.Fatalf("watch %q from %d: %v", prefix, from, err)
	}
	t.Cleanup(w.Close)
	return w
}

func mustNext(ctx context.Context, t *testing.T, w store.Watcher) store.Batch {
	t.Helper()
	b, err := w.Next(ctx)
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return b
}

// scratch makes a folder for one run of a property, which has no t.TempDir.
func scratch(t interface {
	Fatalf(format string, args ...any)
	Cleanup(func())
}) string {
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		t.Fatalf("making a folder: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// show renders a record for failure messages.
func show(kv store.KV) string {
	return fmt.Sprintf("%s=%q (created %d, modified %d, version %d)", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version)
}

func sameKV(a, b store.KV) bool {
	return a.Key == b.Key && string(a.Value) == string(b.Value) &&
		a.CreateRevision == b.CreateRevision && a.ModRevision == b.ModRevision && a.Version == b.Version
}

func sameBatch(a, b store.Batch) bool {
	if a.Revision != b.Revision || len(a.Events) != len(b.Events) {
		return false
	}
	for i := range a.Events {
		if a.Events[i].Type != b.Events[i].Type || !sameKV(a.Events[i].KV, b.Events[i].KV) {
			return false
		}
	}
	return true
}
