package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/internal/store"
)

// writer is the one connection that changes the file.
type writer struct {
	cfg  Config
	db   *sql.DB
	conn *sql.Conn

	// revision is that of the last commit.
	revision  int64
	compacted int64
	// events counts the rows of history and bytes what is in them; stored and
	// storedBytes are those of the group at hand.
	events, stored     int64
	bytes, storedBytes int64
	// broken is set when what the file holds is no longer known.
	broken error

	find, put, remove, record, advance *sql.Stmt
}

// background is the context of all the writer's statements: a transaction once
// begun is not given up halfway for one of the group's callers.
var background = context.Background()

func openWriter(ctx context.Context, cfg Config) (*writer, error) {
	db, err := connect(cfg.Path, writerPragmas)
	if err != nil {
		return nil, err
	}
	w := &writer{cfg: cfg, db: db}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening store %s: %w", cfg.Path, translate(cfg.Path, err)), w.close())
	}
	return w, nil
}

func (w *writer) start(ctx context.Context) (err error) {
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, w.conn, w.cfg.Path, w.cfg); err != nil {
		return err
	}
	if err := inspectContents(ctx, w.conn, w.cfg.Path); err != nil {
		return err
	}
	if err := leap(ctx, w.conn); err != nil {
		return fmt.Errorf("taking over a backup: %w", err)
	}
	if err := w.load(ctx); err != nil {
		return err
	}
	return w.prepare(ctx)
}

func (w *writer) load(ctx context.Context) error {
	const state = `SELECT revision, compacted, h.events, h.bytes FROM meta,
	(SELECT count(*) AS events, coalesce(sum(length(key) + length(value)), 0) AS bytes FROM history) h`
	if err := w.conn.QueryRowContext(ctx, state).Scan(&w.revision, &w.compacted, &w.events, &w.bytes); err != nil {
		return fmt.Errorf("reading the revision: %w", err)
	}
	return nil
}

func (w *writer) prepare(ctx context.Context) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.find, `SELECT mod_revision FROM records WHERE key = ?`},
		{&w.put, `
INSERT INTO records (key, value, create_revision, mod_revision, version) VALUES (?1, ?2, ?3, ?3, 1)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, mod_revision = excluded.mod_revision, version = version + 1
RETURNING create_revision, version`},
		{&w.remove, `DELETE FROM records WHERE key = ?`},
		{&w.record, `INSERT INTO history (id, at, type, key, value, create_revision, version) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&w.advance, `UPDATE meta SET revision = ?, compacted = ?`},
	} {
		stmt, err := w.conn.PrepareContext(ctx, p.text)
		if err != nil {
			return fmt.Errorf("preparing: %w", err)
		}
		*p.stmt = stmt
	}
	return nil
}

func (w *writer) close() error {
	var errs []error
	for _, stmt := range []*sql.Stmt{w.find, w.put, w.remove, w.record, w.advance} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	if w.conn != nil {
		errs = append(errs, w.conn.Close())
	}
	return errors.Join(append(errs, w.db.Close())...)
}

// commit carries out a group in one SQLite transaction. Each request gets its
// own revision or conflict; an error returned is that of all of them, and then
// nothing was applied, unless it can't be told.
func (w *writer) commit(group []*request) error {
	if w.broken != nil {
		return w.broken
	}
	next, compacted, err := w.apply(group)
	if err == nil && next > w.revision {
		w.cfg.at("applied")
		err = w.exec(`COMMIT`)
	}
	if err != nil || next == w.revision {
		err = errors.Join(err, w.rollback(next))
	}
	if err != nil {
		return fmt.Errorf("writing the store: %w", translate(w.cfg.Path, err))
	}
	w.cfg.at("committed")
	w.revision, w.compacted = next, compacted
	w.events += w.stored
	w.bytes += w.storedBytes
	return nil
}

// apply begins the transaction and carries out all of it but the commit. It
// returns the revisions that hold if that succeeds.
func (w *writer) apply(group []*request) (revision, compacted int64, err error) {
	w.stored, w.storedBytes = 0, 0
	revision, compacted = w.revision, w.compacted
	if err := w.exec(`BEGIN IMMEDIATE`); err != nil {
		return revision, compacted, err
	}
	w.cfg.at("begun")
	at := w.cfg.Now().UnixMilli()
	for _, r := range group {
		if revision, err = w.carryOut(r, revision, at); err != nil {
			return revision, compacted, err
		}
	}
	if revision == w.revision {
		return revision, compacted, nil
	}
	if compacted, err = w.compact(at); err != nil {
		return revision, compacted, err
	}
	_, err = w.advance.Exec(revision, compacted)
	return revision, compacted, err
}

func (w *writer) exec(statement string) error {
	_, err := w.conn.ExecContext(background, statement)
	return err
}

// rollback ends a transaction that was not committed. A commit can fail after
// it took effect; if the file holds the revision meant, or can't be read, then
// neither answer would be true and the store refuses to go on.
func (w *writer) rollback(meant int64) error {
	// SQLite has rolled back by itself after some errors; then this fails, and
	// the revision read below decides.
	rollbackErr := w.exec(`ROLLBACK`)
	var found int64
	err := w.conn.QueryRowContext(background, `SELECT revision FROM meta`).Scan(&found)
	if err == nil && found == w.revision {
		return nil
	}
	w.broken = fmt.Errorf("%w: the store is at revision %d where %d or %d was expected, and must be opened again: %w",
		store.ErrIO, found, w.revision, meant, errors.Join(rollbackErr, err))
	return w.broken
}
