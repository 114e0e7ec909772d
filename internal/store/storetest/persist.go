package storetest

import (
	"errors"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

var persistenceRules = map[string]func(*testing.T, Suite){
	"records, revision and watch tokens survive a restart": survivesRestart,
	"compacted history stays compacted after a restart":    compactedStays,
}

func survivesRestart(t *testing.T, s Suite) {
	ctx, opts := testContext(t), Options{Dir: t.TempDir()}
	st := s.open(t, opts)
	mustTxn(ctx, t, st, store.Put("a", []byte("1")))
	mustTxn(ctx, t, st, store.Put("b", []byte("2")), store.Put("a", []byte("3")))
	last := mustTxn(ctx, t, st, store.Delete("b"))
	want := mustGet(ctx, t, st, "a")
	if err := st.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}

	st = s.open(t, opts)
	if rev, err := st.Revision(ctx); err != nil || rev != last {
		t.Errorf("revision %d, %v; want %d", rev, err, last)
	}
	if got := mustGet(ctx, t, st, "a"); !sameKV(got, want) {
		t.Errorf("got %s, want %s", show(got), show(want))
	}
	w := mustWatch(ctx, t, st, "b", 1)
	if b := nextChange(ctx, t, w); b.Revision != 2 || b.Events[0].Type != store.EventPut {
		t.Errorf("the token gave %+v, want the put of b", b)
	}
	if b := nextChange(ctx, t, w); b.Revision != 3 || b.Events[0].Type != store.EventDelete {
		t.Errorf("the token gave %+v, want the deletion of b", b)
	}
	rev := mustTxn(ctx, t, st, store.Put("b", nil))
	if b := nextChange(ctx, t, w); b.Revision != rev {
		t.Errorf("the watch went on with %+v, want revision %d", b, rev)
	}
}

func compactedStays(t *testing.T, s Suite) {
	ctx, opts := testContext(t), Options{Dir: t.TempDir(), HistoryEvents: shortHistory}
	st := s.open(t, opts)
	for range 20 * shortHistory {
		mustTxn(ctx, t, st, store.Put("a", nil))
	}
	if err := st.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	st = s.open(t, opts)
	if _, err := st.Watch(ctx, "", 0); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch from 0 after a restart: %v, want ErrCompacted", err)
	}
}
