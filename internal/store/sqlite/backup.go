package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/casemate-dev/casemate/internal/store"
)

// Backup writes a consistent copy of the store to path, which must not exist,
// while the store goes on. The copy appears complete or not at all, with mode
// 0600.
//
// A backup is restored by putting it in the place of the store's file, without
// a -wal or -shm file beside it, and opening it. The revision then leaps by
// store.RestoreLeap and the history is gone, so that no watch token or etag from
// the time that was lost is ever taken for a current one.
func (s *Store) Backup(ctx context.Context, path string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	partial := path + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("backup: removing what an interrupted one left: %w", err)
	}
	err := s.backup(ctx, partial, path)
	if removeErr := os.Remove(partial); removeErr != nil && !errors.Is(removeErr, os.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	if err != nil {
		return fmt.Errorf("backup to %s: %w", path, translate(path, err))
	}
	return nil
}

func (s *Store) backup(ctx context.Context, partial, path string) error {
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = copyInto(ctx, s.cfg.Path, partial)
	if err == nil {
		s.cfg.at("copied")
		err = markBackup(ctx, partial)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	s.cfg.at("marked")
	// A link, unlike a rename, does not overwrite an older backup.
	if err := os.Link(partial, path); err != nil {
		return err
	}
	s.cfg.at("linked")
	return syncFolder(filepath.Dir(path))
}

// copyInto has SQLite write a compact copy, as of one moment, from a connection
// of its own.
func copyInto(ctx context.Context, from, to string) error {
	db, err := connect(from, commonPragmas)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, to)
	return errors.Join(err, db.Close())
}

func markBackup(ctx context.Context, path string) error {
	db, err := connect(path, append(commonPragmas[:4:4], "journal_mode(delete)", "synchronous(full)"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `UPDATE meta SET backup = 1`)
	return errors.Join(err, db.Close())
}

// leap takes over a file that is a backup; any other it leaves alone.
func leap(ctx context.Context, conn *sql.Conn) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	res, err := tx.ExecContext(ctx, `UPDATE meta SET revision = revision + ?1, compacted = revision + ?1, backup = 0 WHERE backup = 1`, store.RestoreLeap)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM history`); err != nil {
		return err
	}
	return tx.Commit()
}
