package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

var listRules = map[string]func(*testing.T, Suite){
	"a list has the prefix, in byte order":            listOrder,
	"pages join to the whole":                         pagesJoin,
	"a page may start after a key that never existed": afterNeedNotExist,
	"a list outside the limits is refused":            listLimits,
}

func listOrder(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	keys := []string{"a", "a/", "a/1", "a/10", "a/2", "a0", "b", "a/é", "a/~", "A/1", "a/世"}
	for _, key := range keys {
		mustTxn(ctx, t, st, store.Put(key, []byte(key)))
	}
	for _, prefix := range []string{"", "a", "a/", "a/1", "a/é", "a/世", "b", "c", "~"} {
		var want []string
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		res := mustList(ctx, t, st, prefix, store.ListOptions{})
		if got := keysOf(res.KVs); !slices.Equal(got, want) {
			t.Errorf("list %q = %q, want %q", prefix, got, want)
		}
		if res.More || res.Revision != int64(len(keys)) {
			t.Errorf("list %q: more %v at revision %d, want all at %d", prefix, res.More, res.Revision, len(keys))
		}
	}
}

func keysOf(kvs []store.KV) []string {
	var keys []string
	for _, kv := range kvs {
		keys = append(keys, kv.Key)
	}
	return keys
}

func pagesJoin(t *testing.T, s Suite) {
	const total, page = 2500, 100
	ctx, st := testContext(t), s.open(t, Options{})
	var ops []store.Op
	for i := range total {
		ops = append(ops, store.Put(fmt.Sprintf("k/%05d", i), nil))
	}
	for chunk := range slices.Chunk(ops, store.MaxOps) {
		mustTxn(ctx, t, st, chunk...)
	}
	mustTxn(ctx, t, st, store.Put("l", nil))

	var got []string
	opts := store.ListOptions{Limit: page}
	for {
		res := mustList(ctx, t, st, "k/", opts)
		if len(res.KVs) != page {
			t.Fatalf("page after %q has %d records, want %d", opts.After, len(res.KVs), page)
		}
		got = append(got, keysOf(res.KVs)...)
		opts.After = got[len(got)-1]
		if !res.More {
			break
		}
	}
	if len(got) != total || !slices.IsSorted(got) || len(slices.Compact(got)) != total {
		t.Errorf("pages gave %d keys, want %d in order and once each", len(got), total)
	}
}

func afterNeedNotExist(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("a/1", nil), store.Put("a/3", nil), store.Put("b/1", nil))
	tests := map[string][]string{
		"":    {"a/1", "a/3"},
		"A":   {"a/1", "a/3"},
		"a/1": {"a/3"},
		"a/2": {"a/3"},
		"a/3": nil,
		"b":   nil,
	}
	for after, want := range tests {
		res := mustList(ctx, t, st, "a/", store.ListOptions{After: after})
		if got := keysOf(res.KVs); !slices.Equal(got, want) {
			t.Errorf("after %q: %q, want %q", after, got, want)
		}
	}
}

func listLimits(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	tests := map[string]struct {
		prefix string
		opts   store.ListOptions
		want   error
	}{
		"negative limit":   {"", store.ListOptions{Limit: -1}, store.ErrInvalid},
		"unprintable":      {"a\t", store.ListOptions{}, store.ErrInvalid},
		"prefix too long":  {strings.Repeat("k", store.MaxKeyBytes+1), store.ListOptions{}, store.ErrTooLarge},
		"unprintable page": {"", store.ListOptions{After: "\xff"}, store.ErrInvalid},
	}
	for name, tt := range tests {
		if _, err := st.List(ctx, tt.prefix, tt.opts); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := st.Get(ctx, ""); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("get of an empty key: %v, want ErrInvalid", err)
	}
}
