package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

var watchRules = map[string]func(*testing.T, Suite){
	"a watch replays what was and goes on with what comes": watchReplaysAndFollows,
	"a watch sees only its prefix":                         watchPrefix,
	"a watch that has caught up says so once":              watchSynced,
	"an idle watch gets bookmarks":                         watchBookmarks,
	"a watch from the future is refused":                   watchFuture,
	"a watch outside the limits is refused":                watchLimits,
	"an interrupted next loses nothing":                    watchInterrupted,
	"a transaction is delivered whole":                     watchWhole,
	"many watchers see the same":                           watchFanOut,
}

// nextChange skips bookmarks.
func nextChange(ctx context.Context, t *testing.T, w store.Watcher) store.Batch {
	t.Helper()
	for {
		if b := mustNext(ctx, t, w); len(b.Events) > 0 {
			return b
		}
	}
}

func watchReplaysAndFollows(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("a", []byte("1")))
	mustTxn(ctx, t, st, store.Put("a", []byte("2")))
	w := mustWatch(ctx, t, st, "a", 1)
	mustTxn(ctx, t, st, store.Delete("a"))
	want := []store.Batch{
		{Revision: 2, Events: []store.Event{{Type: store.EventPut, KV: store.KV{Key: "a", Value: []byte("2"), CreateRevision: 1, ModRevision: 2, Version: 2}}}},
		{Revision: 3, Events: []store.Event{{Type: store.EventDelete, KV: store.KV{Key: "a", ModRevision: 3}}}},
	}
	for _, b := range want {
		if got := nextChange(ctx, t, w); !sameBatch(got, b) {
			t.Errorf("got %+v, want %+v", got, b)
		}
	}
}

func watchPrefix(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	w := mustWatch(ctx, t, st, "a/", 0)
	mustTxn(ctx, t, st, store.Put("b/1", nil))
	mustTxn(ctx, t, st, store.Put("a", nil), store.Put("a/1", nil), store.Put("a0", nil), store.Put("a/2", nil))
	got := nextChange(ctx, t, w)
	if got.Revision != 2 || len(got.Events) != 2 || got.Events[0].KV.Key != "a/1" || got.Events[1].KV.Key != "a/2" {
		t.Errorf("got %+v, want a/1 and a/2 at revision 2", got)
	}
}

func watchSynced(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("a", nil))
	mustTxn(ctx, t, st, store.Put("b", nil))
	w := mustWatch(ctx, t, st, "a", 0)
	if b := mustNext(ctx, t, w); b.Revision != 1 || len(b.Events) != 1 {
		t.Errorf("first came %+v, want the put of revision 1", b)
	}
	if b := mustNext(ctx, t, w); b.Revision != 2 || len(b.Events) != 0 {
		t.Errorf("then came %+v, want a bookmark at revision 2", b)
	}
	mustTxn(ctx, t, st, store.Put("a", nil))
	if b := mustNext(ctx, t, w); b.Revision != 3 || len(b.Events) != 1 {
		t.Errorf("then came %+v, want the put of revision 3", b)
	}
}

func watchBookmarks(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{BookmarkEvery: 10})
	w := mustWatch(ctx, t, st, "a", 0)
	if b := mustNext(ctx, t, w); b.Revision != 0 || len(b.Events) != 0 {
		t.Fatalf("got %+v, want a bookmark at 0", b)
	}
	for range 25 {
		mustTxn(ctx, t, st, store.Put("b", nil))
	}
	b := mustNext(ctx, t, w)
	if len(b.Events) != 0 || b.Revision < 10 || b.Revision > 25 {
		t.Errorf("got %+v, want a bookmark between 10 and 25", b)
	}
}

func watchFuture(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("a", nil))
	if _, err := st.Watch(ctx, "", 2); !errors.Is(err, store.ErrFutureRevision) {
		t.Errorf("watch from 2 at revision 1: %v, want ErrFutureRevision", err)
	}
	mustWatch(ctx, t, st, "", 1)
}

func watchLimits(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	if _, err := st.Watch(ctx, "", -1); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("watch from -1: %v, want ErrInvalid", err)
	}
	if _, err := st.Watch(ctx, "\x00", 0); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("watch of an unprintable prefix: %v, want ErrInvalid", err)
	}
}

func watchInterrupted(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	w := mustWatch(ctx, t, st, "", 0)
	mustNext(ctx, t, w)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.Next(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("next with an ended context: %v", err)
	}
	mustTxn(ctx, t, st, store.Put("a", nil))
	if _, err := w.Next(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("next with an ended context: %v", err)
	}
	if b := nextChange(ctx, t, w); b.Revision != 1 {
		t.Errorf("after an interruption came %+v, want revision 1", b)
	}
}

func watchWhole(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("k/0000", nil), store.Put("z", nil))
	var ops []store.Op
	for i := range store.MaxOps {
		ops = append(ops, store.Put(fmt.Sprintf("k/%04d", i), nil))
	}
	mustTxn(ctx, t, st, ops...)
	w := mustWatch(ctx, t, st, "k/", 1)
	if b := nextChange(ctx, t, w); b.Revision != 2 || len(b.Events) != store.MaxOps {
		t.Errorf("got %d events of revision %d, want %d of 2", len(b.Events), b.Revision, store.MaxOps)
	}
}

func watchFanOut(t *testing.T, s Suite) {
	const watchers, writes = 8, 100
	ctx, st := testContext(t), s.open(t, Options{})
	failures := make(chan error, watchers)
	for range watchers {
		w := mustWatch(ctx, t, st, "k", 0)
		go func() { failures <- expectDense(ctx, w, writes) }()
	}
	for range writes {
		mustTxn(ctx, t, st, store.Put("k", nil))
	}
	for range watchers {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

// expectDense reads the changes of revisions 1 to last, one event each.
func expectDense(ctx context.Context, w store.Watcher, last int64) error {
	for want := int64(1); want <= last; {
		b, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("waiting for revision %d: %w", want, err)
		}
		if len(b.Events) == 0 {
			continue
		}
		if b.Revision != want {
			return fmt.Errorf("revision %d came where %d was due", b.Revision, want)
		}
		want++
	}
	return nil
}
