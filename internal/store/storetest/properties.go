package storetest

import (
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/casemate-dev/casemate/internal/store"
)

var propertyRules = map[string]func(*testing.T, Suite){
	"the store does what a map does":           followsModel,
	"a watch from any token gives what a list": replayEqualsList,
	"racing counters are linearizable":         linearizable,
}

// machine drives a store and the model side by side.
type machine struct {
	suite Suite
	opts  Options
	store store.Store
	model *model
	ctx   context.Context
	// watches are open, with what each has still to deliver.
	watches []*openWatch
}

type openWatch struct {
	watcher store.Watcher
	prefix  string
	token   int64
}

var (
	keys     = rapid.SampledFrom([]string{"a", "a/", "a/1", "a/2", "a/é", "b", "b/1", "c"})
	prefixes = rapid.SampledFrom([]string{"", "a", "a/", "b", "c", "d"})
)

func followsModel(t *testing.T, s Suite) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{suite: s, opts: Options{Dir: scratch(rt)}, model: newModel(), ctx: t.Context()}
		m.open(rt)
		defer func() { _ = m.store.Close() }()
		actions := map[string]func(*rapid.T){
			"":      m.check,
			"txn":   m.txn,
			"list":  m.list,
			"get":   m.get,
			"watch": m.watch,
			"drain": m.drain,
		}
		if s.Persistent {
			actions["reopen"] = m.reopen
		}
		rt.Repeat(actions)
	})
}

func (m *machine) open(t *rapid.T) {
	st, err := m.suite.Open(m.opts)
	if err != nil {
		t.Fatalf("opening the store: %v", err)
	}
	m.store = st
}

func (m *machine) check(t *rapid.T) {
	if rev, err := m.store.Revision(m.ctx); err != nil || rev != m.model.revision {
		t.Fatalf("revision %d, %v; want %d", rev, err, m.model.revision)
	}
}

func (m *machine) txn(t *rapid.T) {
	compares := rapid.SliceOfN(rapid.Custom(m.compare), 0, 3).Draw(t, "compares")
	ops := rapid.SliceOfNDistinct(rapid.Custom(drawOp), 0, 4, func(op store.Op) string { return op.Key }).Draw(t, "ops")
	want, wantErr := m.model.txn(compares, ops)
	got, err := m.store.Txn(m.ctx, compares, ops)
	var conflict, wantConflict *store.ConflictError
	if errors.As(wantErr, &wantConflict) {
		if !errors.As(err, &conflict) || *conflict != *wantConflict {
			t.Fatalf("txn: %v, want %v", err, wantErr)
		}
		return
	}
	if err != nil || got != want {
		t.Fatalf("txn: revision %d, %v; want %d", got, err, want)
	}
}

// compare holds more often than not, so that transactions get through.
func (m *machine) compare(t *rapid.T) store.Compare {
	key := keys.Draw(t, "key")
	switch rapid.IntRange(0, 4).Draw(t, "compare") {
	case 0:
		return store.Exists(key)
	case 1:
		return store.ModRevision(key, rapid.Int64Range(0, 5).Draw(t, "revision"))
	default:
		return store.ModRevision(key, m.model.records[key].ModRevision)
	}
}

func drawOp(t *rapid.T) store.Op {
	key := keys.Draw(t, "key")
	if rapid.IntRange(0, 2).Draw(t, "op") == 0 {
		return store.Delete(key)
	}
	return store.Put(key, rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value"))
}

func (m *machine) list(t *rapid.T) {
	prefix := prefixes.Draw(t, "prefix")
	opts := store.ListOptions{
		After: rapid.OneOf(rapid.Just(""), keys).Draw(t, "after"),
		Limit: rapid.IntRange(0, 4).Draw(t, "limit"),
	}
	want := m.model.list(prefix, opts)
	got, err := m.store.List(m.ctx, prefix, opts)
	if err != nil || got.Revision != want.Revision || got.More != want.More || len(got.KVs) != len(want.KVs) {
		t.Fatalf("list %q %+v = %+v, %v; want %+v", prefix, opts, got, err, want)
	}
	for i := range want.KVs {
		if !sameKV(got.KVs[i], want.KVs[i]) {
			t.Fatalf("list %q: got %s, want %s", prefix, show(got.KVs[i]), show(want.KVs[i]))
		}
	}
}

func (m *machine) get(t *rapid.T) {
	key := keys.Draw(t, "key")
	want, exists := m.model.records[key]
	got, err := m.store.Get(m.ctx, key)
	if exists && (err != nil || !sameKV(got, want)) {
		t.Fatalf("get: %s, %v; want %s", show(got), err, show(want))
	}
	if !exists && !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("get of a missing key: %v", err)
	}
}

func (m *machine) watch(t *rapid.T) {
	w := &openWatch{prefix: prefixes.Draw(t, "prefix"), token: rapid.Int64Range(0, m.model.revision).Draw(t, "from")}
	m.start(t, w)
	m.watches = append(m.watches, w)
}

func (m *machine) start(t *rapid.T, w *openWatch) {
	watcher, err := m.store.Watch(m.ctx, w.prefix, w.token)
	if err != nil {
		t.Fatalf("watch %q from %d: %v", w.prefix, w.token, err)
	}
	w.watcher = watcher
}

// drain reads one watch to its end, and holds it against all of history.
func (m *machine) drain(t *rapid.T) {
	if len(m.watches) == 0 {
		t.Skip("no watch is open")
	}
	w := m.watches[rapid.IntRange(0, len(m.watches)-1).Draw(t, "which")]
	for _, want := range m.model.changes(w.prefix, w.token) {
		got, err := w.watcher.Next(m.ctx)
		for err == nil && len(got.Events) == 0 {
			got, err = w.watcher.Next(m.ctx)
		}
		if err != nil || !sameBatch(got, want) {
			t.Fatalf("watch %q after %d: got %+v, %v; want %+v", w.prefix, w.token, got, err, want)
		}
		w.token = want.Revision
	}
}

// reopen closes the store as a restart does; watches resume from their tokens.
func (m *machine) reopen(t *rapid.T) {
	if err := m.store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	m.open(t)
	for _, w := range m.watches {
		m.start(t, w)
	}
}
