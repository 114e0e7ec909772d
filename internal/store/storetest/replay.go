package storetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

// replayEqualsList is invariant I10: while others write, a listing taken at any
// time in small pages, and a watch from the revision of its first page, end up
// with exactly what a listing gives at the end.
func replayEqualsList(t *testing.T, s Suite) {
	const writers, readers, writes = 3, 4, 150
	ctx, st := testContext(t), s.open(t, Options{})
	var writing, reading sync.WaitGroup
	for n := range writers {
		writing.Go(func() {
			if err := writeRandomly(ctx, st, uint64(n), writes); err != nil {
				t.Errorf("writer: %v", err)
			}
		})
	}
	views := make([]*view, readers)
	for n := range views {
		views[n] = &view{prefix: []string{"", "k/", "k/1", "l"}[n], records: make(map[string]store.KV)}
		reading.Go(func() {
			if err := views[n].load(ctx, st); err != nil {
				t.Errorf("reader: %v", err)
			}
		})
	}
	writing.Wait()
	reading.Wait()
	end := mustTxn(ctx, t, st, store.Put("k/1/end", nil), store.Put("l/end", nil))
	for _, v := range views {
		if err := v.follow(ctx, st, end); err != nil {
			t.Errorf("reader of %q: %v", v.prefix, err)
			continue
		}
		want := make(map[string]store.KV)
		for _, kv := range mustList(ctx, t, st, v.prefix, store.ListOptions{}).KVs {
			want[kv.Key] = kv
		}
		if !maps.EqualFunc(v.records, want, sameKV) {
			t.Errorf("replay of %q from %d gives %v, a list gives %v", v.prefix, v.from, v.records, want)
		}
	}
}

func writeRandomly(ctx context.Context, st store.Store, seed uint64, writes int) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range writes {
		key := fmt.Sprintf("%c/%d", "kl"[rng.IntN(2)], rng.IntN(12))
		op := store.Put(key, fmt.Appendf(nil, "%d-%d", seed, i))
		if rng.IntN(3) == 0 {
			op = store.Delete(key)
		}
		if _, err := st.Txn(ctx, nil, []store.Op{op}); err != nil {
			return err
		}
	}
	return nil
}

// view is a client's copy of what is under a prefix.
type view struct {
	prefix  string
	from    int64
	records map[string]store.KV
}

func (v *view) load(ctx context.Context, st store.Store) error {
	opts := store.ListOptions{Limit: 3}
	for page := 0; ; page++ {
		res, err := st.List(ctx, v.prefix, opts)
		if err != nil {
			return err
		}
		if page == 0 {
			v.from = res.Revision
		}
		for _, kv := range res.KVs {
			v.records[kv.Key] = kv
			opts.After = kv.Key
		}
		if !res.More {
			return nil
		}
	}
}

func (v *view) follow(ctx context.Context, st store.Store, end int64) error {
	w, err := st.Watch(ctx, v.prefix, v.from)
	if err != nil {
		return err
	}
	defer w.Close()
	for last := v.from; last < end; {
		b, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if b.Revision <= last && len(b.Events) > 0 {
			return fmt.Errorf("revision %d came after %d", b.Revision, last)
		}
		last = b.Revision
		replay(v.records, []store.Batch{b})
	}
	return nil
}
