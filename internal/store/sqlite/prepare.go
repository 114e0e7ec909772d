package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// prepareFile sees to it that there is a whole database at cfg.Path.
//
// A new one is built under another name and moved into place when it is
// complete. So an empty or headless file at the path is always damage, and is
// refused rather than taken for a beginning.
func prepareFile(ctx context.Context, cfg Config) error {
	info, err := os.Lstat(cfg.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createFile(ctx, cfg)
	case err != nil:
		return fmt.Errorf("opening store: %w", err)
	case !info.Mode().IsRegular():
		return corrupt(cfg.Path, "it is not a regular file")
	case info.Size() == 0:
		return corrupt(cfg.Path, "the file is empty")
	case info.Mode().Perm() != 0o600:
		if err := os.Chmod(cfg.Path, 0o600); err != nil {
			return fmt.Errorf("keeping the store from other users: %w", forbidden(cfg.Path, err))
		}
	}
	f, err := os.OpenFile(cfg.Path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening store: %w", forbidden(cfg.Path, err))
	}
	return f.Close()
}

// forbidden says what to do when the file is not this user's: a backup that was
// put in place by another, as a rule.
func forbidden(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: %s must belong to the user that this process runs as (id %d), with mode 0600: chown it, together with its -wal and -shm", err, path, os.Getuid())
}

func createFile(ctx context.Context, cfg Config) error {
	if _, err := os.Lstat(cfg.Path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return corrupt(cfg.Path, "the file is gone, but its write-ahead log is there")
	}
	fresh := cfg.Path + ".new"
	for _, leftover := range []string{fresh, fresh + "-wal", fresh + "-shm", fresh + "-journal"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what an interrupted creation left: %w", err)
		}
	}
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	if err := errors.Join(fill(ctx, fresh, cfg), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("creating store: %w", translate(fresh, err))
	}
	cfg.at("filled")
	if err := os.Rename(fresh, cfg.Path); err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	cfg.at("placed")
	return syncFolder(filepath.Dir(cfg.Path))
}

// fill writes the schema into an empty file.
func fill(ctx context.Context, path string, cfg Config) (err error) {
	db, err := connect(path, writerPragmas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID)); err != nil {
		return fmt.Errorf("marking the file: %w", err)
	}
	return migrate(ctx, conn, path, cfg)
}

// inspect refuses a file that is not a whole Casemate store. Its connection
// writes nothing: the file may be another program's.
func inspect(ctx context.Context, path string) (err error) {
	db, err := connect(path, readerPragmas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("opening the file: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := inspectMark(ctx, conn, path); err != nil {
		return err
	}
	var verdict string
	if err := conn.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("checking the file: %w", err)
	}
	if verdict != "ok" {
		return corrupt(path, verdict)
	}
	_, err = schemaVersion(ctx, conn, path)
	return err
}

func inspectMark(ctx context.Context, conn *sql.Conn, path string) error {
	var id int64
	if err := conn.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return fmt.Errorf("reading the file's mark: %w", err)
	}
	if id != applicationID {
		return corrupt(path, fmt.Sprintf("it is a database of something else (application id %#x)", id))
	}
	return nil
}

// inspectContents refuses a file whose tables contradict each other.
func inspectContents(ctx context.Context, conn *sql.Conn, path string) error {
	var rows, ahead int64
	err := conn.QueryRowContext(ctx, `
SELECT count(*), coalesce(sum(
	revision < compacted OR
	EXISTS (SELECT 1 FROM history WHERE id >= (revision + 1) << 10) OR
	EXISTS (SELECT 1 FROM history WHERE id < (compacted + 1) << 10)), 0)
FROM meta`).Scan(&rows, &ahead)
	if err != nil {
		return fmt.Errorf("checking the revision: %w", err)
	}
	if rows != 1 {
		return corrupt(path, "its revision is missing")
	}
	if ahead != 0 {
		return corrupt(path, "its history and its revision contradict each other")
	}
	return nil
}
