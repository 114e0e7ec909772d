package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

func TestOnlyOneProcessOpensAStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	st := mustOpen(t, Config{Path: path})
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("opening it again: %v, want ErrLocked", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, Config{Path: path})
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	st := mustOpen(t, Config{Path: path})
	mustPut(t, st, "a", "b")
	if err := st.Backup(t.Context(), filepath.Join(dir, "backup.db")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 5 {
		t.Errorf("there are %v, want the store, its log, index and lock, and the backup", entries)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v; want 0600", e.Name(), info.Mode(), err)
		}
	}
}

func TestWideModeIsNarrowed(t *testing.T) {
	path := closedStore(t)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, Config{Path: path})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// closedStore returns the path of a store with some records.
func closedStore(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	st := mustOpen(t, Config{Path: path})
	for _, key := range []string{"a", "b", "c"} {
		mustPut(t, st, key, strings.Repeat(key, 3000))
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// change runs statements on a closed store's file.
func change(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := connect(path, commonPragmas)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestDamagedFileIsRefusedWithAdvice(t *testing.T) {
	tests := map[string]func(t *testing.T, path string){
		"empty":                   func(t *testing.T, path string) { mustWrite(t, path, nil) },
		"not a database":          func(t *testing.T, path string) { mustWrite(t, path, bytes.Repeat([]byte("text "), 2000)) },
		"cut short":               func(t *testing.T, path string) { mustWrite(t, path, mustRead(t, path)[:8192]) },
		"a page overwritten":      func(t *testing.T, path string) { spoil(t, path, 4096) },
		"another page":            func(t *testing.T, path string) { spoil(t, path, 3*4096) },
		"gone, its log is there":  func(t *testing.T, path string) { mustWrite(t, path+"-wal", []byte("log")); mustRemove(t, path) },
		"a folder":                func(t *testing.T, path string) { mustRemove(t, path); _ = os.Mkdir(path, 0o700) },
		"a link":                  func(t *testing.T, path string) { _ = os.Rename(path, path+".x"); _ = os.Symlink(path+".x", path) },
		"another application's":   func(t *testing.T, path string) { change(t, path, `PRAGMA application_id = 7`) },
		"history past revision":   func(t *testing.T, path string) { change(t, path, `UPDATE meta SET revision = 1`) },
		"history said to be gone": func(t *testing.T, path string) { change(t, path, `UPDATE meta SET compacted = 2`) },
		"no revision":             func(t *testing.T, path string) { change(t, path, `DELETE FROM meta`) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			path := closedStore(t)
			damage(t, path)
			before, _ := os.ReadFile(path)
			_, err := Open(t.Context(), Config{Path: path})
			var corrupt *store.CorruptError
			if !errors.As(err, &corrupt) || !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("open: %v, want a CorruptError", err)
			}
			if corrupt.Path != path || !strings.Contains(corrupt.Advice, "backup") {
				t.Errorf("%+v does not say where and what to do", corrupt)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

func mustRemove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func spoil(t *testing.T, path string, at int) {
	t.Helper()
	data := mustRead(t, path)
	for i := at; i < at+256; i++ {
		data[i] ^= 0xa5
	}
	mustWrite(t, path, data)
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := closedStore(t)
	change(t, path, `INSERT INTO schema_migrations VALUES (99, 'from the future', 0)`)
	_, err := Open(t.Context(), Config{Path: path})
	if !errors.Is(err, store.ErrNewerSchema) || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("open: %v, want ErrNewerSchema with advice", err)
	}
}

func TestMigrationsRunInOrderAndOnce(t *testing.T) {
	path := closedStore(t)
	defer func(was []migration) { migrations = was }(migrations)
	migrations = append(slices.Clip(migrations),
		migration{name: "one", sql: `CREATE TABLE extra (n INTEGER) STRICT; INSERT INTO extra VALUES (1)`},
		migration{name: "two", sql: `UPDATE extra SET n = n + 1`})
	for range 2 {
		if err := mustOpen(t, Config{Path: path}).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := queryInt(t, path, `SELECT n FROM extra`); n != 2 {
		t.Errorf("n = %d after two migrations, want 2", n)
	}

	migrations = append(migrations, migration{name: "broken", sql: `UPDATE extra SET n = 100; NONSENSE`})
	if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("open with a failing migration: %v, want its name", err)
	}
	if n := queryInt(t, path, `SELECT n FROM extra`); n != 2 {
		t.Errorf("n = %d: a failed migration left a trace", n)
	}
}

func queryInt(t *testing.T, path, query string) int64 {
	t.Helper()
	db, err := connect(path, readerPragmas)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var n sql.NullInt64
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n.Int64
}

func TestInterruptedCreationIsBegunAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	mustWrite(t, path+".new", []byte("half a file"))
	st := mustOpen(t, Config{Path: path})
	mustPut(t, st, "a", "b")
}

func TestConfigIsValidated(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no path":          {},
		"negative history": {Path: "x", HistoryEvents: -1},
		"negative size":    {Path: "x", HistoryBytes: -1},
		"negative age":     {Path: "x", HistoryAge: -1},
		"negative readers": {Path: "x", Readers: -1},
	} {
		if _, err := Open(context.Background(), cfg); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func TestAnyPathIsAPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `a b?mode=ro&x=%41#é'"`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	st := mustOpen(t, Config{Path: filepath.Join(dir, "store.db")})
	mustPut(t, st, "a", "b")
	if err := st.Backup(t.Context(), filepath.Join(dir, "backup?.db")); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 5 {
		t.Errorf("the folder has %v, %v; want the store's four files and the backup", files, err)
	}
}

func TestCloseLeavesOneWholeFile(t *testing.T) {
	path := closedStore(t)
	if left, _ := filepath.Glob(path + "*"); len(left) != 2 {
		t.Errorf("left are %v, want the store and its lock", left)
	}
}

func TestCommitsAreDurable(t *testing.T) {
	path := closedStore(t)
	db, err := connect(path, writerPragmas)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000"} {
		var got string
		if err := db.QueryRow(`PRAGMA ` + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %s, %v; want %s", pragma, got, err, want)
		}
	}
}

func TestForeignWriterStopsTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	st := mustOpen(t, Config{Path: path})
	mustPut(t, st, "a", "b")
	change(t, path, `UPDATE meta SET revision = 7`)
	for range 2 {
		if _, err := st.Txn(t.Context(), []store.Compare{store.Exists("a")}, nil); !errors.Is(err, store.ErrIO) {
			t.Errorf("txn after someone else wrote: %v, want ErrIO", err)
		}
	}
}
