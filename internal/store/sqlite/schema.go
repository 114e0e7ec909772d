package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/casemate-dev/casemate/internal/store"
)

// applicationID marks the file as a Casemate store: "CSMT".
const applicationID = 0x43534d54

// migration is one step of the schema. Steps are only ever appended.
type migration struct {
	name string
	sql  string
}

// migrations[i] leads to schema version i+1.
//
// history.id is revision * 1024 + the event's ordinal in its transaction, so
// that one integer index gives order and ranges; store.MaxOps keeps it unique.
var migrations = []migration{
	{name: "records, history and the revision", sql: `
CREATE TABLE records (
	key             TEXT NOT NULL PRIMARY KEY,
	value           BLOB NOT NULL,
	create_revision INTEGER NOT NULL,
	mod_revision    INTEGER NOT NULL,
	version         INTEGER NOT NULL
) STRICT;
CREATE TABLE history (
	id              INTEGER PRIMARY KEY,
	at              INTEGER NOT NULL,
	type            INTEGER NOT NULL,
	key             TEXT NOT NULL,
	value           BLOB NOT NULL,
	create_revision INTEGER NOT NULL,
	version         INTEGER NOT NULL
) STRICT;
CREATE TABLE meta (
	id        INTEGER PRIMARY KEY CHECK (id = 1),
	revision  INTEGER NOT NULL,
	compacted INTEGER NOT NULL,
	backup    INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0, 0, 0);
`},
}

// historyShift is the binary logarithm of store.MaxOps.
const historyShift = 10

func historyID(revision int64, ordinal int) int64 {
	return revision<<historyShift | int64(ordinal)
}

// migrate brings the schema of db up to date, one transaction a step.
func migrate(ctx context.Context, conn *sql.Conn, path string, cfg Config) error {
	const table = `CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT`
	if _, err := conn.ExecContext(ctx, table); err != nil {
		return fmt.Errorf("preparing the schema table: %w", err)
	}
	version, err := schemaVersion(ctx, conn, path)
	if err != nil {
		return err
	}
	for ; version < len(migrations); version++ {
		if err := step(ctx, conn, version, cfg); err != nil {
			return fmt.Errorf("migrating to schema %d (%s): %w", version+1, migrations[version].name, err)
		}
	}
	return nil
}

// schemaVersion reads the version, and refuses one this program doesn't know.
func schemaVersion(ctx context.Context, conn *sql.Conn, path string) (int, error) {
	var version int
	if err := conn.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_migrations`).Scan(&version); err != nil {
		return 0, fmt.Errorf("reading the schema version: %w", err)
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("%w: %s has schema %d, this program knows up to %d: run the newer program, or restore a backup from before the upgrade",
			store.ErrNewerSchema, path, version, len(migrations))
	}
	return version, nil
}

func step(ctx context.Context, conn *sql.Conn, version int, cfg Config) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, migrations[version].sql); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO schema_migrations VALUES (?, ?, ?)`, version+1, migrations[version].name, cfg.Now().UnixMilli())
	if err != nil {
		return err
	}
	cfg.at("migrating")
	if err := tx.Commit(); err != nil {
		return err
	}
	cfg.at("migrated")
	return nil
}
