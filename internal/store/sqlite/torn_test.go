package sqlite

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

// A loss of power can leave the end of the write-ahead log unwritten or in
// shreds. What was written before it must stand, and nothing else.
func TestTornLogLosesOnlyItsEnd(t *testing.T) {
	const txns = 40
	dir := t.TempDir()
	st := mustOpen(t, Config{Path: filepath.Join(dir, "store.db")})
	for n := range txns {
		value := []byte(strconv.Itoa(n + 1))
		if _, err := st.Txn(t.Context(), nil, []store.Op{store.Put("left", value), store.Put("right", value)}); err != nil {
			t.Fatal(err)
		}
	}
	db := mustRead(t, filepath.Join(dir, "store.db"))
	wal := mustRead(t, filepath.Join(dir, "store.db-wal"))
	rng := rand.New(rand.NewPCG(1, 2))
	seen := make(map[int]bool)
	for cut := range 40 {
		torn := wal[:rng.IntN(len(wal)+1)]
		if cut%2 == 1 {
			torn = shred(rng, wal)
		}
		seen[openTorn(t, db, torn)] = true
	}
	if len(seen) < 5 {
		t.Errorf("only the ends %v were seen: the log was not torn", seen)
	}
	if got := openTorn(t, db, wal); got != txns {
		t.Errorf("the whole log holds %d transactions, want %d", got, txns)
	}
}

// shred keeps the length, as a file system may, and spoils a stretch.
func shred(rng *rand.Rand, wal []byte) []byte {
	torn := append([]byte(nil), wal...)
	at := rng.IntN(len(torn))
	for i := at; i < min(at+512, len(torn)); i++ {
		torn[i] ^= 0x5a
	}
	return torn
}

// openTorn returns how many transactions a store with these files holds.
func openTorn(t *testing.T, db, wal []byte) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	mustWrite(t, path, db)
	mustWrite(t, path+"-wal", wal)
	st := mustOpen(t, Config{Path: path})
	left, right := readNumber(t, st, "left"), readNumber(t, st, "right")
	rev, err := st.Revision(t.Context())
	if err != nil || left != right || int64(left) != rev {
		t.Errorf("a torn log gives %d and %d at revision %d, %v", left, right, rev, err)
	}
	checkHistory(t, st)
	return left
}

func mustOpen(t *testing.T, cfg Config) *Store {
	t.Helper()
	st, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("opening the store: %v", err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return st
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustWrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustPut(t *testing.T, st store.Store, key, value string) int64 {
	t.Helper()
	rev, err := st.Txn(t.Context(), nil, []store.Op{store.Put(key, []byte(value))})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return rev
}
