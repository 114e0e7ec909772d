package sqlite

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

var update = flag.Bool("update", false, "write the file of the present schema, if there is none")

// Every schema that was ever released has a file in testdata, written by the
// program of its time: each must still open, with all that is in it.
func TestFilesOfEverySchemaOpen(t *testing.T) {
	for version := 1; version <= len(migrations); version++ {
		fixture := filepath.Join("testdata", fmt.Sprintf("schema-%d.db", version))
		if _, err := os.Stat(fixture); errors.Is(err, fs.ErrNotExist) && version == len(migrations) && *update {
			writeFixture(t, fixture)
		}
		path := filepath.Join(t.TempDir(), "store.db")
		mustWrite(t, path, mustRead(t, fixture))
		if got := queryInt(t, path, `SELECT max(version) FROM schema_migrations`); got != int64(version) {
			t.Errorf("%s has schema %d", fixture, got)
		}
		st := mustOpen(t, Config{Path: path})
		if kv, err := st.Get(t.Context(), "containers/acme/api"); err != nil || string(kv.Value) != "second" || kv.ModRevision != 3 || kv.Version != 2 {
			t.Errorf("schema %d: the record is %+v, %v", version, kv, err)
		}
		if rev := mustPut(t, st, "a", "b"); rev != 5 {
			t.Errorf("schema %d goes on at revision %d, want 5", version, rev)
		}
		checkHistory(t, st)
	}
}

// writeFixture keeps a small store of the present schema for all time.
func writeFixture(t *testing.T, fixture string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	st := mustOpen(t, Config{Path: path})
	for _, value := range []string{"routes/api.example first", "containers/acme/api first", "containers/acme/api second"} {
		key, value, _ := strings.Cut(value, " ")
		mustPut(t, st, key, value)
	}
	if _, err := st.Txn(t.Context(), nil, []store.Op{store.Delete("routes/api.example")}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, fixture, mustRead(t, path))
}

func TestAFileOfAnotherUserIsRefusedWithAdvice(t *testing.T) {
	err := forbidden("/var/lib/casemate/store.db", &fs.PathError{Op: "open", Path: "/var/lib/casemate/store.db", Err: fs.ErrPermission})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "chown") || !strings.Contains(err.Error(), "0600") {
		t.Errorf("%v does not say what to do", err)
	}
	if other := errors.New("another"); !errors.Is(forbidden("x", other), other) {
		t.Error("another error is changed")
	}
}
