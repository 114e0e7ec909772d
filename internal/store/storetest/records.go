package storetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

var recordRules = map[string]func(*testing.T, Suite){
	"a new store is empty at revision 0":                  newStoreIsEmpty,
	"a record counts its puts and remembers its creation": recordHistory,
	"a deleted record is gone and starts over":            deletedStartsOver,
	"a value put is copied":                               valueIsCopied,
	"an empty value is a value":                           emptyValue,
	"values and keys up to the limits are kept":           limitsAreUsable,
}

func newStoreIsEmpty(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	if rev, err := st.Revision(ctx); err != nil || rev != 0 {
		t.Errorf("revision = %d, %v; want 0", rev, err)
	}
	if res := mustList(ctx, t, st, "", store.ListOptions{}); len(res.KVs) != 0 || res.Revision != 0 || res.More {
		t.Errorf("list of an empty store = %+v", res)
	}
	if _, err := st.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get of a missing key: %v, want ErrNotFound", err)
	}
}

func recordHistory(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("other", []byte("x")))
	mustTxn(ctx, t, st, store.Put("a", []byte("one")))
	mustTxn(ctx, t, st, store.Put("a", []byte("two")))
	want := store.KV{Key: "a", Value: []byte("two"), CreateRevision: 2, ModRevision: 3, Version: 2}
	if got := mustGet(ctx, t, st, "a"); !sameKV(got, want) {
		t.Errorf("got %s, want %s", show(got), show(want))
	}
}

func deletedStartsOver(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("a", []byte("one")))
	mustTxn(ctx, t, st, store.Delete("a"))
	if _, err := st.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get after delete: %v, want ErrNotFound", err)
	}
	if rev := mustTxn(ctx, t, st, store.Delete("a")); rev != 3 {
		t.Errorf("deleting what is gone got revision %d, want 3", rev)
	}
	mustTxn(ctx, t, st, store.Put("a", []byte("new")))
	want := store.KV{Key: "a", Value: []byte("new"), CreateRevision: 4, ModRevision: 4, Version: 1}
	if got := mustGet(ctx, t, st, "a"); !sameKV(got, want) {
		t.Errorf("got %s, want %s", show(got), show(want))
	}
}

func valueIsCopied(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	value := []byte("before")
	mustTxn(ctx, t, st, store.Put("a", value))
	copy(value, "after!")
	if got := mustGet(ctx, t, st, "a"); string(got.Value) != "before" {
		t.Errorf("the caller's buffer reached the store: %q", got.Value)
	}
}

func emptyValue(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("nil", nil), store.Put("empty", []byte{}))
	for _, key := range []string{"nil", "empty"} {
		if got := mustGet(ctx, t, st, key); len(got.Value) != 0 || got.Version != 1 {
			t.Errorf("got %s, want an empty value", show(got))
		}
	}
}

func limitsAreUsable(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	key := strings.Repeat("k", store.MaxKeyBytes)
	value := strings.Repeat("v", store.MaxValueBytes)
	mustTxn(ctx, t, st, store.Put(key, []byte(value)))
	if got := mustGet(ctx, t, st, key); string(got.Value) != value {
		t.Errorf("value of %d bytes came back with %d", len(value), len(got.Value))
	}
	w := mustWatch(ctx, t, st, "", 0)
	if b := mustNext(ctx, t, w); len(b.Events) != 1 || len(b.Events[0].KV.Value) != len(value) {
		t.Errorf("the largest value was not delivered to a watcher")
	}
}
