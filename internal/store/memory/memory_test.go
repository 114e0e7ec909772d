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

func TestRestoredIsIndependentAndRefusesOldTokens(t *testing.T) {
	ctx := t.Context()
	st := memory.New(memory.Config{})
	put := func(value string) {
		t.Helper()
		if _, err := st.Txn(ctx, nil, []store.Op{store.Put("a", []byte(value))}); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	restored := st.Restored()
	put("new")
	kv, err := restored.Get(ctx, "a")
	if err != nil || string(kv.Value) != "old" || kv.ModRevision != 1 {
		t.Errorf("the restored store has %+v, %v; want the old value at revision 1", kv, err)
	}
	for _, token := range []int64{0, 1, 2} {
		if _, err := restored.Watch(ctx, "", token); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("token %d from before the restore: %v, want ErrCompacted", token, err)
		}
	}
	if rev, err := restored.Revision(ctx); err != nil || rev != 1+store.RestoreLeap {
		t.Errorf("revision %d, %v; want a leap", rev, err)
	}
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, storetest.Suite{Open: open})
}
