package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/store"
)

// gate holds the writer at the beginning of its first group.
func gate() (at func(string), begun, release chan struct{}, commits *atomic.Int64) {
	begun, release, commits = make(chan struct{}), make(chan struct{}), new(atomic.Int64)
	var once sync.Once
	return func(point string) {
		switch point {
		case "begun":
			once.Do(func() { close(begun); <-release })
		case "committed":
			commits.Add(1)
		}
	}, begun, release, commits
}

func TestWaitingTransactionsShareACommit(t *testing.T) {
	const callers = 100
	synctest.Test(t, func(t *testing.T) {
		at, begun, release, commits := gate()
		st := mustOpen(t, Config{Path: filepath.Join(t.TempDir(), "store.db"), at: at})
		var mu sync.Mutex
		revisions, conflicts := make(map[int64]bool), 0
		var wg sync.WaitGroup
		create := func() {
			rev, err := st.Txn(t.Context(), []store.Compare{store.ModRevision("one", 0)}, []store.Op{store.Put("one", nil)})
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, store.ErrConflict) {
				conflicts++
			} else if err != nil {
				t.Errorf("txn: %v", err)
			} else {
				revisions[rev] = true
			}
		}
		add := func(i int) {
			rev, err := st.Txn(t.Context(), nil, []store.Op{store.Put(fmt.Sprint(i), nil)})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || revisions[rev] {
				t.Errorf("revision %d, %v; want one of its own", rev, err)
			}
			revisions[rev] = true
		}
		wg.Go(func() { add(-1) })
		<-begun
		for i := range callers {
			wg.Go(func() { add(i) })
			wg.Go(create)
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if len(revisions) != callers+2 || conflicts != callers-1 {
			t.Errorf("%d revisions and %d conflicts, want %d and %d", len(revisions), conflicts, callers+2, callers-1)
		}
		if n := commits.Load(); n != 2 {
			t.Errorf("%d commits for %d transactions, want 2", n, 2*callers+1)
		}
	})
}

func TestCallerThatLeavesIsToldWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, begun, release, _ := gate()
		st := mustOpen(t, Config{Path: filepath.Join(t.TempDir(), "store.db"), at: at})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		taken, waiting := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := st.Txn(ctx, nil, []store.Op{store.Put("taken", nil)})
			taken <- err
		}()
		<-begun
		go func() {
			_, err := st.Txn(ctx, nil, []store.Op{store.Put("waiting", nil)})
			waiting <- err
		}()
		if err := <-taken; !errors.Is(err, store.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one taken up: %v, want ErrOutcomeUnknown and the deadline", err)
		}
		if err := <-waiting; errors.Is(err, store.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one still waiting: %v, want the deadline alone", err)
		}
		close(release)
		mustPut(t, st, "last", "")
		if _, err := st.Get(t.Context(), "waiting"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the one that waited: %v, want it not applied", err)
		}
	})
}

func TestHistoryAges(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	st := mustOpen(t, Config{Path: filepath.Join(t.TempDir(), "store.db"), HistoryAge: time.Hour, Now: func() time.Time { return now }})
	old := mustPut(t, st, "a", "1")
	now = now.Add(40 * time.Minute)
	young := mustPut(t, st, "a", "2")
	now = now.Add(40 * time.Minute)
	last := mustPut(t, st, "a", "3")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = mustOpen(t, Config{Path: st.cfg.Path, HistoryAge: time.Hour, Now: func() time.Time { return now }})
	if _, err := st.Watch(t.Context(), "", old-1); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a token older than the age: %v, want ErrCompacted", err)
	}
	w, err := st.Watch(t.Context(), "", old)
	if err != nil {
		t.Fatalf("a younger token: %v", err)
	}
	for _, want := range []int64{young, last} {
		if b, err := w.Next(t.Context()); err != nil || b.Revision != want {
			t.Errorf("got %+v, %v; want revision %d", b, err, want)
		}
	}
}

func TestLongHistoryIsReadInPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	st := mustOpen(t, Config{Path: path})
	const txns, each = 10, 700
	for n := range txns {
		var ops []store.Op
		for i := range each {
			ops = append(ops, store.Put(fmt.Sprintf("%c/%d", "ab"[i%2], i), fmt.Append(nil, n)))
		}
		if _, err := st.Txn(t.Context(), nil, ops); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = mustOpen(t, Config{Path: path})
	w, err := st.Watch(t.Context(), "b/", 0)
	if err != nil {
		t.Fatal(err)
	}
	for want := range int64(txns) {
		if b, err := w.Next(t.Context()); err != nil || b.Revision != want+1 || len(b.Events) != each/2 {
			t.Fatalf("revision %d with %d events, %v; want %d with %d", b.Revision, len(b.Events), err, want+1, each/2)
		}
	}
	if b, err := w.Next(t.Context()); err != nil || b.Revision != txns || len(b.Events) != 0 {
		t.Errorf("got %+v, %v; want a bookmark at %d", b, err, txns)
	}
}
