package sqlite

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

// kept is how many events the file holds for watchers, and how many bytes they have.
func kept(t *testing.T, st *Store) (events, bytes int64) {
	t.Helper()
	err := st.readers.QueryRowContext(t.Context(), `SELECT count(*), sum(length(key) + length(value)) FROM history`).Scan(&events, &bytes)
	if err != nil {
		t.Fatal(err)
	}
	return events, bytes
}

// TestHistoryIsBoundedInBytes: large records must not fill the disk with what they
// were.
func TestHistoryIsBoundedInBytes(t *testing.T) {
	const bound, size = 1 << 20, 64 << 10
	cfg := Config{Path: filepath.Join(t.TempDir(), "store.db"), HistoryBytes: bound}
	st := mustOpen(t, cfg)
	for range 100 {
		mustPut(t, st, "ä", strings.Repeat("x", size))
	}
	events, bytes := kept(t, st)
	if bytes > bound+bound/8+2*size || bytes < bound/2 {
		t.Errorf("%d events of %d bytes are kept, want about %d bytes", events, bytes, bound)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = mustOpen(t, cfg)
	if _, err := st.Watch(t.Context(), "", 0); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watching from the beginning: %v, want that it is gone", err)
	}
	for range 1000 {
		mustPut(t, st, "small", "x")
	}
	if after, bytes := kept(t, st); after < 1000 || bytes > bound+bound/8+2*size {
		t.Errorf("after a restart and 1,000 small changes %d events of %d bytes are kept", after, bytes)
	}
	mustPut(t, st, "large", strings.Repeat("x", store.MaxValueBytes))
	mustPut(t, st, "large", strings.Repeat("y", store.MaxValueBytes))
	if events, bytes := kept(t, st); events == 0 || bytes > 2*store.MaxValueBytes+bound/8 {
		t.Errorf("after changes as large as the bound %d events of %d bytes are kept", events, bytes)
	}
}
