package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
	"github.com/casemate-dev/casemate/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(opts storetest.Options) (store.Store, error) {
	return memory.New(memory.Config{HistoryEvents: opts.HistoryEvents, BookmarkEvery: opts.BookmarkEvery}), nil
}

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Suite{Open: open})
}

func TestWaitsDurablyInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New(memory.Config{})
		defer func() { _ = st.Close() }()
		w, err := st.Watch(t.Context(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(24 * time.Hour)
			_, _ = st.Txn(t.Context(), nil, []store.Op{store.Put("a", nil)})
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("next within the hour: %v, want its deadline", err)
		}
		if b, err := w.Next(t.Context()); err != nil || b.Revision != 1 {
			t.Fatalf("next within the day: %+v, %v", b, err)
		}
	})
}

func TestCloneIsIndependentAndForgetsHistory(t *testing.T) {
	ctx := t.Context()
	st := memory.New(memory.Config{})
	for range 3 {
		if _, err := st.Txn(ctx, nil, []store.Op{store.Put("a", []byte("old"))}); err != nil {
			t.Fatal(err)
		}
	}
	backup := st.Clone()
	if _, err := st.Txn(ctx, nil, []store.Op{store.Put("a", []byte("new"))}); err != nil {
		t.Fatal(err)
	}
	kv, err := backup.Get(ctx, "a")
	if err != nil || string(kv.Value) != "old" || kv.ModRevision != 3 {
		t.Errorf("the clone has %+v, %v; want the old value at revision 3", kv, err)
	}
	if _, err := backup.Watch(ctx, "", 4); !errors.Is(err, store.ErrFutureRevision) {
		t.Errorf("a token from after the backup: %v, want ErrFutureRevision", err)
	}
	if _, err := backup.Watch(ctx, "", 2); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a token from before the backup: %v, want ErrCompacted", err)
	}
}
