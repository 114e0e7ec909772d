package feed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(revision int64, keys ...string) store.Batch {
	b := store.Batch{Revision: revision}
	for _, key := range keys {
		b.Events = append(b.Events, store.Event{Type: store.EventPut, KV: store.KV{Key: key, ModRevision: revision}})
	}
	return b
}

func next(t *testing.T, w *feed.Watcher) store.Batch {
	t.Helper()
	b, err := w.Next(t.Context())
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return b
}

func watch(t *testing.T, l *feed.Log, prefix string, from int64) *feed.Watcher {
	t.Helper()
	w, err := l.Watch(prefix, from)
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	return w
}

func TestAppendRefusesAGap(t *testing.T) {
	l := feed.New(feed.Config{Revision: 5})
	defer func() {
		if recover() == nil {
			t.Error("revision 7 was appended after 5")
		}
	}()
	l.Append(put(7, "a"))
}

func TestBoundsHold(t *testing.T) {
	tests := map[string]struct {
		cfg  feed.Config
		keys []string
		want int64
	}{
		"events are counted":              {feed.Config{MaxEvents: 4}, []string{"a", "b"}, 8},
		"empty batches are counted":       {feed.Config{MaxEvents: 4}, nil, 6},
		"bytes are counted":               {feed.Config{MaxBytes: 30}, []string{"0123456789"}, 7},
		"the newest stays, however large": {feed.Config{MaxEvents: 1}, []string{"a", "b", "c"}, 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := feed.New(tt.cfg)
			for rev := range int64(10) {
				l.Append(put(rev+1, tt.keys...))
			}
			if got := l.Oldest(); got != tt.want || l.Latest() != 10 {
				t.Errorf("the log reaches from %d to %d, want %d to 10", got, l.Latest(), tt.want)
			}
			var compacted *store.CompactedError
			if _, err := l.Watch("", tt.want-1); !errors.As(err, &compacted) || compacted.Oldest != tt.want {
				t.Errorf("watch from before: %v", err)
			}
			if _, err := l.Watch("", tt.want); err != nil {
				t.Errorf("watch from the oldest: %v", err)
			}
		})
	}
}

// archive plays the store that keeps more history than the log.
type archive struct {
	batches   []store.Batch
	compacted int64
	err       error
	page      int
}

func (a *archive) older(_ context.Context, prefix string, from int64) ([]store.Batch, int64, error) {
	if a.err != nil {
		return nil, 0, a.err
	}
	if from < a.compacted {
		return nil, 0, &store.CompactedError{From: from, Oldest: a.compacted}
	}
	through := min(from+int64(a.page), int64(len(a.batches)))
	var out []store.Batch
	for _, b := range a.batches[from:through] {
		if b.Events[0].KV.Key >= prefix {
			out = append(out, b)
		}
	}
	return out, through, nil
}

func TestOlderHistoryIsJoinedWithTheLog(t *testing.T) {
	a := &archive{page: 3}
	l := feed.New(feed.Config{MaxEvents: 2, Older: a.older})
	add := func(rev int64) {
		b := put(rev, fmt.Sprintf("%c", 'a'+rev%2))
		a.batches = append(a.batches, b)
		l.Append(b)
	}
	for rev := range int64(20) {
		add(rev + 1)
	}
	all, odd := watch(t, l, "", 0), watch(t, l, "b", 0)
	for want := range int64(20) {
		if b := next(t, all); b.Revision != want+1 {
			t.Fatalf("revision %d came where %d was due", b.Revision, want+1)
		}
	}
	for want := int64(1); want < 20; want += 2 {
		if b := next(t, odd); b.Revision != want {
			t.Fatalf("revision %d came where %d was due", b.Revision, want)
		}
	}
	if b := next(t, all); b.Revision != 20 || len(b.Events) != 0 {
		t.Errorf("got %+v, want a bookmark", b)
	}
	add(21)
	if b := next(t, all); b.Revision != 21 {
		t.Errorf("got %+v, want revision 21", b)
	}
}

func TestReaderIsAheadOfTheLogForAMoment(t *testing.T) {
	a := &archive{page: 100}
	l := feed.New(feed.Config{Revision: 2, Older: a.older})
	a.batches = []store.Batch{put(1, "a"), put(2, "a"), put(3, "a")}
	w := watch(t, l, "", 0)
	for want := int64(1); want <= 3; want++ {
		if b := next(t, w); b.Revision != want {
			t.Fatalf("got %+v, want revision %d", b, want)
		}
	}
	next(t, w) // The bookmark.
	l.Append(a.batches[2])
	l.Append(put(4, "a"))
	if b := next(t, w); b.Revision != 4 {
		t.Errorf("got %+v, want revision 4: 3 was delivered already", b)
	}
}

func TestFailureToReadHistory(t *testing.T) {
	a := &archive{page: 1, batches: []store.Batch{put(1, "a"), put(2, "a")}}
	l := feed.New(feed.Config{Revision: 2, Older: a.older})
	w := watch(t, l, "", 0)
	a.err = store.ErrIO
	if _, err := w.Next(t.Context()); !errors.Is(err, store.ErrIO) {
		t.Errorf("next: %v, want ErrIO", err)
	}
	a.err = nil
	if b := next(t, w); b.Revision != 1 {
		t.Errorf("after a passing failure: %+v, want revision 1", b)
	}
	a.compacted = 2
	for range 2 {
		if _, err := w.Next(t.Context()); !errors.Is(err, store.ErrSlowReader) {
			t.Errorf("compacted under a reader: %v, want ErrSlowReader", err)
		}
	}
}

func TestClosedLogWatchesNothing(t *testing.T) {
	l := feed.New(feed.Config{})
	w := watch(t, l, "", 0)
	l.Close()
	l.Close()
	if _, err := w.Next(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("next: %v, want ErrClosed", err)
	}
	if _, err := l.Watch("", 0); !errors.Is(err, store.ErrClosed) {
		t.Errorf("watch: %v, want ErrClosed", err)
	}
}
