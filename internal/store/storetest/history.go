package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

var historyRules = map[string]func(*testing.T, Suite){
	"old history is compacted and its tokens refused":    compaction,
	"a reader that falls behind is closed, not skipped":  slowReader,
	"an idle watcher outlives compaction":                idleOutlivesCompaction,
	"a watcher that reads is not cut off by compaction":  readingOutlivesCompaction,
	"one transaction larger than the history is watched": largerThanHistory,
}

const shortHistory = 32

func compaction(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{HistoryEvents: shortHistory})
	var last int64
	for range 20 * shortHistory {
		last = mustTxn(ctx, t, st, store.Put("a", nil))
	}
	_, err := st.Watch(ctx, "", 0)
	var compacted *store.CompactedError
	if !errors.As(err, &compacted) || !errors.Is(err, store.ErrCompacted) {
		t.Fatalf("watch from 0: %v, want a CompactedError", err)
	}
	if compacted.From != 0 || compacted.Oldest <= 0 || compacted.Oldest > last-shortHistory/2 {
		t.Errorf("%+v at revision %d: a part of the history should be left", compacted, last)
	}
	if _, err := st.Watch(ctx, "", compacted.Oldest-1); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch from before the oldest: %v, want ErrCompacted", err)
	}
	w := mustWatch(ctx, t, st, "", compacted.Oldest)
	for want := compacted.Oldest + 1; want <= last; want++ {
		if b := mustNext(ctx, t, w); b.Revision != want {
			t.Fatalf("revision %d came where %d was due", b.Revision, want)
		}
	}
}

func slowReader(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{HistoryEvents: shortHistory})
	w := mustWatch(ctx, t, st, "", 0)
	mustTxn(ctx, t, st, store.Put("a", nil))
	if b := nextChange(ctx, t, w); b.Revision != 1 {
		t.Fatalf("got %+v, want revision 1", b)
	}
	for range 20 * shortHistory {
		mustTxn(ctx, t, st, store.Put("a", nil))
	}
	for want := int64(2); ; want++ {
		b, err := w.Next(ctx)
		if errors.Is(err, store.ErrSlowReader) {
			break
		}
		if err != nil || b.Revision != want {
			t.Fatalf("got revision %d, %v; want %d or ErrSlowReader", b.Revision, err, want)
		}
		if want > 20*shortHistory {
			t.Fatal("the reader was never closed")
		}
	}
	if _, err := w.Next(ctx); !errors.Is(err, store.ErrSlowReader) {
		t.Errorf("a closed reader's next: %v, want ErrSlowReader again", err)
	}
}

func idleOutlivesCompaction(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{HistoryEvents: shortHistory})
	w := mustWatch(ctx, t, st, "quiet", 0)
	mustNext(ctx, t, w)
	for range 20 * shortHistory {
		mustTxn(ctx, t, st, store.Put("loud", nil))
	}
	rev := mustTxn(ctx, t, st, store.Put("quiet", nil))
	if b := nextChange(ctx, t, w); b.Revision != rev {
		t.Errorf("got %+v, want revision %d", b, rev)
	}
}

func readingOutlivesCompaction(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{HistoryEvents: shortHistory})
	w := mustWatch(ctx, t, st, "", 0)
	for range 20 * shortHistory {
		rev := mustTxn(ctx, t, st, store.Put("a", nil))
		if b := nextChange(ctx, t, w); b.Revision != rev {
			t.Fatalf("got %+v, want revision %d", b, rev)
		}
	}
}

func largerThanHistory(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{HistoryEvents: shortHistory})
	w := mustWatch(ctx, t, st, "", 0)
	var ops []store.Op
	for i := range 4 * shortHistory {
		ops = append(ops, store.Put("k/"+string(rune('a'+i%26))+string(rune('a'+i/26)), nil))
	}
	done := make(chan error, 1)
	go func() {
		_, err := st.Txn(context.WithoutCancel(ctx), nil, ops)
		done <- err
	}()
	if b := nextChange(ctx, t, w); len(b.Events) != len(ops) {
		t.Errorf("got %d events, want %d", len(b.Events), len(ops))
	}
	if err := <-done; err != nil {
		t.Errorf("txn: %v", err)
	}
}
