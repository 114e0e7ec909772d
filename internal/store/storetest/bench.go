package storetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

// valueBytes is about what a container's record has.
const valueBytes = 512

// Benchmark measures what the coordinator and the simulator do most.
func Benchmark(b *testing.B, s Suite) {
	b.Run("get", func(b *testing.B) { benchGet(b, s) })
	b.Run("txn/callers=1", func(b *testing.B) { benchTxn(b, s, 1) })
	b.Run("txn/callers=16", func(b *testing.B) { benchTxn(b, s, 16) })
	b.Run("txn/callers=256", func(b *testing.B) { benchTxn(b, s, 256) })
	b.Run("list/keys=100000", func(b *testing.B) { benchList(b, s, 0) })
	b.Run("list/keys=100000/page=100", func(b *testing.B) { benchList(b, s, 100) })
	b.Run("watch/watchers=1000", func(b *testing.B) { benchWatch(b, s, 1000) })
}

func benchOpen(b *testing.B, s Suite) store.Store {
	b.Helper()
	st, err := s.Open(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	return st
}

func fillStore(b *testing.B, st store.Store, keys int) {
	b.Helper()
	value := make([]byte, valueBytes)
	var ops []store.Op
	for i := range keys {
		ops = append(ops, store.Put(fmt.Sprintf("container/org-%02d/%06d", i%50, i), value))
	}
	for chunk := range slices.Chunk(ops, store.MaxOps) {
		if _, err := st.Txn(context.Background(), nil, chunk); err != nil {
			b.Fatal(err)
		}
	}
}

func benchGet(b *testing.B, s Suite) {
	st := benchOpen(b, s)
	fillStore(b, st, 10_000)
	for i := 0; b.Loop(); i++ {
		if _, err := st.Get(b.Context(), fmt.Sprintf("container/org-%02d/%06d", i%50, i%10_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// benchTxn has each caller advance a record of its own from its last revision.
func benchTxn(b *testing.B, s Suite, callers int) {
	st := benchOpen(b, s)
	fillStore(b, st, 10_000)
	b.ResetTimer()
	var wg sync.WaitGroup
	for id := range callers {
		steps := b.N / callers
		if id < b.N%callers {
			steps++
		}
		wg.Go(func() {
			if err := advance(b.Context(), st, "update/"+strconv.Itoa(id), steps); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "txns/s")
}

func advance(ctx context.Context, st store.Store, key string, steps int) error {
	value, revision := make([]byte, valueBytes), int64(0)
	for range steps {
		rev, err := st.Txn(ctx, []store.Compare{store.ModRevision(key, revision)}, []store.Op{store.Put(key, value)})
		if err != nil {
			return err
		}
		revision = rev
	}
	return nil
}

func benchList(b *testing.B, s Suite, page int) {
	const keys = 100_000
	st := benchOpen(b, s)
	fillStore(b, st, keys)
	for b.Loop() {
		want := keys
		if page > 0 {
			want = page
		}
		res, err := st.List(b.Context(), "container/", store.ListOptions{Limit: page})
		if err != nil || len(res.KVs) != want {
			b.Fatalf("%d records, %v", len(res.KVs), err)
		}
	}
}

// benchWatch delivers every transaction to every watcher.
func benchWatch(b *testing.B, s Suite, watchers int) {
	st := benchOpen(b, s)
	var wg sync.WaitGroup
	for range watchers {
		w, err := st.Watch(b.Context(), "update/", 0)
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer w.Close()
			if err := expectDense(b.Context(), w, int64(b.N)); err != nil {
				b.Error(err)
			}
		})
	}
	b.ResetTimer()
	if err := advance(b.Context(), st, "update/1", b.N); err != nil {
		b.Error(err)
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)*float64(watchers)/b.Elapsed().Seconds(), "deliveries/s")
}
