package sqlite

import (
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

// openFull opens a store on a file that can't grow past pages. SQLite then
// answers SQLITE_FULL from within the transaction, as it does for ENOSPC.
func openFull(t *testing.T, pages int, cfg Config) *Store {
	t.Helper()
	defer func(was []string) { writerPragmas = was }(writerPragmas)
	writerPragmas = append(slices.Clip(writerPragmas), fmt.Sprintf("max_page_count(%d)", pages))
	return mustOpen(t, cfg)
}

func TestFullDiskIsTypedAndPasses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	st := openFull(t, 24, Config{Path: path})
	mustPut(t, st, "a", "before")
	large := strings.Repeat("x", 200_000)
	for range 2 {
		_, err := st.Txn(t.Context(), nil, []store.Op{store.Put("a", []byte("lost")), store.Put("b", []byte(large))})
		if !errors.Is(err, store.ErrFull) {
			t.Fatalf("txn on a full disk: %v, want ErrFull", err)
		}
	}
	if kv, err := st.Get(t.Context(), "a"); err != nil || string(kv.Value) != "before" {
		t.Errorf("a is %q, %v after a failed transaction", kv.Value, err)
	}
	if rev := mustPut(t, st, "a", "small"); rev != 2 {
		t.Errorf("what has room: revision %d, want 2", rev)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = mustOpen(t, Config{Path: path})
	if rev := mustPut(t, st, "b", large); rev != 3 {
		t.Errorf("with room again: revision %d, want 3", rev)
	}
	checkHistory(t, st)
}

func TestFullDiskFailsOnlyWhatDoesNotFit(t *testing.T) {
	const small = 20
	begun, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	st := openFull(t, 40, Config{Path: filepath.Join(t.TempDir(), "store.db"), at: func(point string) {
		if point == "begun" {
			once.Do(func() { close(begun); <-release })
		}
	}})
	results := make(chan error, small+1)
	put := func(key string, size int) {
		_, err := st.Txn(t.Context(), nil, []store.Op{store.Put(key, make([]byte, size))})
		results <- err
	}
	// While the first is held at its beginning, the rest gather to a group.
	go put("k/0", 1)
	<-begun
	go put("large", 400_000)
	for i := 1; i < small; i++ {
		go put(fmt.Sprintf("k/%d", i), 1)
	}
	close(release)
	full := 0
	for range small + 1 {
		if err := <-results; errors.Is(err, store.ErrFull) {
			full++
		} else if err != nil {
			t.Errorf("a small transaction failed: %v", err)
		}
	}
	res, err := st.List(t.Context(), "", store.ListOptions{})
	if err != nil || full != 1 || len(res.KVs) != small || res.Revision != small {
		t.Errorf("%d failed, %d records at revision %d, %v; want 1, %d, %d", full, len(res.KVs), res.Revision, err, small, small)
	}
	checkHistory(t, st)
}

// A limit on file size makes the kernel refuse writes to the log, which SQLite
// reports as an I/O error.
func TestIOErrorIsTypedAndLeavesTheStoreWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	st := mustOpen(t, Config{Path: path})
	mustPut(t, st, "a", "before")
	restore := limitFileSize(t, 256<<10)
	_, err := st.Txn(t.Context(), nil, []store.Op{store.Put("a", []byte("lost")), store.Put("b", make([]byte, 900_000))})
	restore()
	if !errors.Is(err, store.ErrIO) {
		t.Fatalf("txn on a failing disk: %v, want ErrIO", err)
	}
	if kv, err := st.Get(t.Context(), "a"); err != nil || string(kv.Value) != "before" {
		t.Errorf("a is %q, %v after a failed transaction", kv.Value, err)
	}
	if rev := mustPut(t, st, "a", "after"); rev != 2 {
		t.Errorf("once the disk works again: revision %d, want 2", rev)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	checkHistory(t, mustOpen(t, Config{Path: path}))
}

// limitFileSize sets the soft limit of this process until restore is called.
func limitFileSize(t *testing.T, size uint64) (restore func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	t.Cleanup(func() { signal.Reset(syscall.SIGXFSZ) })
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
	}
}
