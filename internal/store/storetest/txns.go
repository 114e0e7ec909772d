package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

var txnRules = map[string]func(*testing.T, Suite){
	"a conflict names the first compare that failed": conflictIsNamed,
	"a conflict changes nothing":                     conflictChangesNothing,
	"compares see the store before the ops":          comparesSeeBefore,
	"a transaction without ops writes nothing":       comparesOnly,
	"all ops share one revision":                     opsShareRevision,
	"arguments outside the limits are refused":       limitsAreEnforced,
}

func conflictIsNamed(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("a", nil))
	mustTxn(ctx, t, st, store.Put("b", nil))
	tests := map[string]struct {
		compares []store.Compare
		want     store.ConflictError
	}{
		"another revision":        {[]store.Compare{store.ModRevision("a", 2)}, store.ConflictError{Key: "a", Want: 2, Have: 1}},
		"must not exist but does": {[]store.Compare{store.ModRevision("a", 0)}, store.ConflictError{Key: "a", Want: 0, Have: 1}},
		"missing at a revision":   {[]store.Compare{store.ModRevision("c", 1)}, store.ConflictError{Key: "c", Want: 1, Have: 0}},
		"must exist but does not": {[]store.Compare{store.Exists("c")}, store.ConflictError{Key: "c", Want: store.AnyRevision, Have: 0}},
		"the second of three": {
			[]store.Compare{store.Exists("a"), store.ModRevision("b", 1), store.Exists("c")},
			store.ConflictError{Key: "b", Want: 1, Have: 2},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := st.Txn(ctx, tt.compares, []store.Op{store.Put("d", nil)})
			var got *store.ConflictError
			if !errors.As(err, &got) || *got != tt.want {
				t.Errorf("error = %v, want %v", err, &tt.want)
			}
			if !errors.Is(err, store.ErrConflict) {
				t.Errorf("%v is not ErrConflict", err)
			}
		})
	}
}

func conflictChangesNothing(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	rev := mustTxn(ctx, t, st, store.Put("a", []byte("kept")))
	_, err := st.Txn(ctx, []store.Compare{store.ModRevision("a", 99)},
		[]store.Op{store.Put("a", []byte("lost")), store.Put("b", nil)})
	if !errors.Is(err, store.ErrConflict) {
		t.Fatalf("error = %v, want a conflict", err)
	}
	res := mustList(ctx, t, st, "", store.ListOptions{})
	if len(res.KVs) != 1 || string(res.KVs[0].Value) != "kept" || res.Revision != rev {
		t.Errorf("after a conflict the store holds %+v", res)
	}
}

func comparesSeeBefore(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	_, err := st.Txn(ctx,
		[]store.Compare{store.ModRevision("a", 0), store.ModRevision("a", 0)},
		[]store.Op{store.Put("a", nil)})
	if err != nil {
		t.Errorf("create if absent: %v", err)
	}
	_, err = st.Txn(ctx, []store.Compare{store.Exists("a"), store.ModRevision("a", 1)}, []store.Op{store.Delete("a")})
	if err != nil {
		t.Errorf("delete at its revision: %v", err)
	}
}

func comparesOnly(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	want := mustTxn(ctx, t, st, store.Put("a", nil))
	for name, compares := range map[string][]store.Compare{"with compares": {store.Exists("a")}, "with nothing": nil} {
		if rev, err := st.Txn(ctx, compares, nil); err != nil || rev != want {
			t.Errorf("%s: revision %d, %v; want %d", name, rev, err, want)
		}
	}
	if rev, err := st.Revision(ctx); err != nil || rev != want {
		t.Errorf("revision is now %d, %v; want %d", rev, err, want)
	}
}

func opsShareRevision(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	mustTxn(ctx, t, st, store.Put("gone", nil))
	ops := []store.Op{store.Delete("gone")}
	for i := range store.MaxOps - 1 {
		ops = append(ops, store.Put(fmt.Sprintf("k/%04d", i), []byte{byte(i)}))
	}
	rev := mustTxn(ctx, t, st, ops...)
	res := mustList(ctx, t, st, "", store.ListOptions{})
	if len(res.KVs) != len(ops)-1 || res.Revision != rev || rev != 2 {
		t.Fatalf("%d records at revision %d, want %d at 2", len(res.KVs), res.Revision, len(ops)-1)
	}
	for _, kv := range res.KVs {
		if kv.ModRevision != rev {
			t.Fatalf("%s, want revision %d", show(kv), rev)
		}
	}
}

func limitsAreEnforced(t *testing.T, s Suite) {
	ctx, st := testContext(t), s.open(t, Options{})
	big := []byte(strings.Repeat("v", store.MaxValueBytes))
	longKey := strings.Repeat("k", store.MaxKeyBytes+1)
	many, heavy := make([]store.Op, 0, store.MaxOps+1), make([]store.Op, 0, 17)
	for i := range store.MaxOps + 1 {
		many = append(many, store.Delete(fmt.Sprint(i)))
	}
	for i := range 17 {
		heavy = append(heavy, store.Put(fmt.Sprint(i), big))
	}
	tests := map[string]struct {
		compares []store.Compare
		ops      []store.Op
		want     error
	}{
		"empty key":            {ops: []store.Op{store.Put("", nil)}, want: store.ErrInvalid},
		"key too long":         {ops: []store.Op{store.Delete(longKey)}, want: store.ErrTooLarge},
		"key with a newline":   {ops: []store.Op{store.Put("a\nb", nil)}, want: store.ErrInvalid},
		"key with a zero byte": {ops: []store.Op{store.Put("a\x00", nil)}, want: store.ErrInvalid},
		"key not utf-8":        {ops: []store.Op{store.Put("a\xff", nil)}, want: store.ErrInvalid},
		"invisible key":        {ops: []store.Op{store.Put("a\u200b", nil)}, want: store.ErrInvalid},
		"value too large":      {ops: []store.Op{store.Put("a", append(big, 'x'))}, want: store.ErrTooLarge},
		"too many ops":         {ops: many, want: store.ErrTooLarge},
		"too many compares":    {compares: make([]store.Compare, store.MaxOps+1), want: store.ErrTooLarge},
		"too many bytes":       {ops: heavy, want: store.ErrTooLarge},
		"two ops on one key":   {ops: []store.Op{store.Put("a", nil), store.Delete("a")}, want: store.ErrInvalid},
		"two of many ops":      {ops: append(many[:20:20], store.Put("7", nil)), want: store.ErrInvalid},
		"op without a kind":    {ops: []store.Op{{Key: "a"}}, want: store.ErrInvalid},
		"compare without kind": {compares: []store.Compare{{Key: "a"}}, want: store.ErrInvalid},
		"negative revision":    {compares: []store.Compare{store.ModRevision("a", -1)}, want: store.ErrInvalid},
		"compare on bad key":   {compares: []store.Compare{store.Exists("")}, want: store.ErrInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := st.Txn(ctx, tt.compares, tt.ops); !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
	if rev, err := st.Revision(ctx); err != nil || rev != 0 {
		t.Errorf("refused transactions moved the revision to %d, %v", rev, err)
	}
}
