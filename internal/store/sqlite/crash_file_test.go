package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/casemate-dev/casemate/internal/store"
)

// nextMigration is one that a newer program would have.
var nextMigration = migration{name: "one more table", sql: `CREATE TABLE extra (n INTEGER) STRICT; INSERT INTO extra VALUES (1)`}

// backupPoints are those at which a backup is interrupted.
var backupPoints = []string{"copied", "marked", "linked"}

// backups makes one backup after the other until the process dies: at its point, or
// at once if one fails, as it would never come there.
func backups(st *Store, dir string) {
	for n := 1; ; n++ {
		if err := st.Backup(context.Background(), filepath.Join(dir, fmt.Sprintf("backup-%d.db", n))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func TestKilledWhileTheFileIsMade(t *testing.T) {
	for _, point := range []string{"migrating:1", "migrated:1", "migrating:2", "filled:1", "placed:1"} {
		dir, none := t.TempDir(), make([]int, childWriters)
		killChild(t, dir, point, 0, none)
		checkSurvivor(t, dir, point, none)
	}
}

// A migration is one transaction: whoever dies in it leaves the older schema
// with all that was in it, or the newer one.
func TestKilledInAMigrationLeavesOneSchemaOrTheOther(t *testing.T) {
	for _, point := range []string{"migrating:1", "migrated:1"} {
		path := closedStore(t)
		killChild(t, filepath.Dir(path), point, 0, make([]int, childWriters))
		st, err := Open(t.Context(), Config{Path: path})
		if err == nil {
			err = st.Close()
		}
		if newer := point == "migrated:1"; errors.Is(err, store.ErrNewerSchema) != newer {
			t.Errorf("after a kill at %q the older program opens it with %v", point, err)
			continue
		}
		withMigration(t, func() {
			st := mustOpen(t, Config{Path: path})
			if kv, err := st.Get(t.Context(), "b"); err != nil || len(kv.Value) != 3000 {
				t.Errorf("after a kill at %q a record is %d bytes long, %v", point, len(kv.Value), err)
			}
		})
	}
}

// withMigration runs f as the newer program.
func withMigration(t *testing.T, f func()) {
	t.Helper()
	was := migrations
	migrations = append(slices.Clip(was), nextMigration)
	defer func() { migrations = was }()
	f()
}

func TestKilledInABackupLeavesAWholeOneOrNone(t *testing.T) {
	for _, point := range []string{"copied:1", "copied:3", "marked:1", "marked:3", "linked:1", "linked:3"} {
		dir, acknowledged := t.TempDir(), make([]int, childWriters)
		killChild(t, dir, point, 0, acknowledged)
		checkSurvivor(t, dir, point, acknowledged)
		whole, err := filepath.Glob(filepath.Join(dir, "backup-*.db"))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"copied:1": 0, "copied:3": 2, "marked:1": 0, "marked:3": 2, "linked:1": 1, "linked:3": 3}[point]
		if len(whole) != want {
			t.Errorf("after a kill at %q the backups are %v, want %d", point, whole, want)
		}
		for _, path := range whole {
			checkBackup(t, path, point, acknowledged)
		}
		st := mustOpen(t, Config{Path: filepath.Join(dir, "store.db")})
		if err := st.Backup(t.Context(), filepath.Join(dir, fmt.Sprintf("backup-%d.db", want+1))); err != nil {
			t.Errorf("after a kill at %q the next backup: %v", point, err)
		}
	}
}

// checkBackup opens a backup in the place of a store: every transaction is in it
// whole or not at all, and it is of the past of the store.
func checkBackup(t *testing.T, path, point string, now []int) {
	t.Helper()
	st := mustOpen(t, Config{Path: path})
	for id, n := range now {
		left, right := readNumber(t, st, fmt.Sprintf("left/%d", id)), readNumber(t, st, fmt.Sprintf("right/%d", id))
		if left != right || left > n {
			t.Errorf("the backup of before a kill at %q has %d and %d of writer %d, the store %d", point, left, right, id, n)
		}
	}
	if rev, err := st.Revision(t.Context()); err != nil || rev < store.RestoreLeap {
		t.Errorf("the backup of before a kill at %q goes on at %d, %v: it is not marked", point, rev, err)
	}
}
