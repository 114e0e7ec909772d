package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

var lifeRules = map[string]func(*testing.T, Suite){
	"a closed store refuses everything":           closedRefuses,
	"closing the store ends a waiting watcher":    closeEndsWatchers,
	"closing a watcher ends its waiting next":     closeWatcher,
	"an ended context stops every call":           endedContext,
	"a store closed while it is written stays ok": closeWhileWriting,
}

func closedRefuses(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	if err := st.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	for name, err := range callAll(ctx, st) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s on a closed store: %v, want ErrClosed", name, err)
		}
	}
}

// callAll makes every call once and returns the errors by the call's name.
func callAll(ctx context.Context, st store.Store) map[string]error {
	errs := make(map[string]error)
	_, errs["get"] = st.Get(ctx, "a")
	_, errs["list"] = st.List(ctx, "", store.ListOptions{})
	_, errs["txn"] = st.Txn(ctx, nil, []store.Op{store.Put("a", nil)})
	_, errs["compare"] = st.Txn(ctx, []store.Compare{store.Exists("a")}, nil)
	_, errs["watch"] = st.Watch(ctx, "", 0)
	_, errs["revision"] = st.Revision(ctx)
	return errs
}

func closeEndsWatchers(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	ended := make(chan error, 2)
	for range 2 {
		w := mustWatch(ctx, t, st, "", 0)
		mustNext(ctx, t, w)
		go func() {
			_, err := w.Next(ctx)
			ended <- err
		}()
	}
	if err := st.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, store.ErrClosed) {
			t.Errorf("next ended with %v, want ErrClosed", err)
		}
	}
}

func closeWatcher(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	w := mustWatch(ctx, t, st, "", 0)
	mustNext(ctx, t, w)
	ended := make(chan error, 1)
	go func() {
		_, err := w.Next(ctx)
		ended <- err
	}()
	w.Close()
	w.Close()
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("next ended with %v, want ErrClosed", err)
	}
	mustTxn(ctx, t, st, store.Put("a", nil))
	if _, err := w.Next(ctx); !errors.Is(err, store.ErrClosed) {
		t.Errorf("next of a closed watcher: %v, want ErrClosed", err)
	}
}

func endedContext(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for name, err := range callAll(ended, st) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v, want Canceled", name, err)
		}
	}
	if rev, err := st.Revision(ctx); err != nil || rev != 0 {
		t.Errorf("revision = %d, %v; a transaction with an ended context was applied", rev, err)
	}
}

func closeWhileWriting(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	const writers = 4
	ended := make(chan error, writers)
	started := make(chan struct{}, writers)
	for range writers {
		go func() {
			for first := true; ; first = false {
				if _, err := st.Txn(ctx, nil, []store.Op{store.Put("a", nil)}); err != nil {
					ended <- err
					return
				}
				if first {
					started <- struct{}{}
				}
			}
		}()
	}
	for range writers {
		select {
		case <-started:
		case err := <-ended:
			t.Fatalf("a writer ended with %v before the store was closed", err)
		}
	}
	if err := st.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for range writers {
		if err := <-ended; !errors.Is(err, store.ErrClosed) {
			t.Errorf("a writer ended with %v, want ErrClosed", err)
		}
	}
}
