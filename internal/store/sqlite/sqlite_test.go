package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/storetest"
)

func openForSuite(opts storetest.Options) (store.Store, error) {
	st, err := Open(context.Background(), Config{
		Path:          filepath.Join(opts.Dir, "store.db"),
		HistoryEvents: opts.HistoryEvents,
		BookmarkEvery: opts.BookmarkEvery,
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Suite{Open: openForSuite, Persistent: true})
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, storetest.Suite{Open: openForSuite, Persistent: true})
}
