package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	sqlite3 "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/casemate-dev/casemate/internal/store"
)

// Settings of connections; https://www.sqlite.org/pragma.html describes each.
var (
	commonPragmas = []string{"busy_timeout(5000)", "foreign_keys(1)", "trusted_schema(0)", "cell_size_check(1)"}
	// In WAL mode only synchronous=FULL makes a commit durable when it returns.
	writerPragmas = append(commonPragmas[:4:4], "journal_mode(wal)", "synchronous(full)", "journal_size_limit(67108864)", "cache_size(-16384)")
	readerPragmas = append(commonPragmas[:4:4], "query_only(1)")
)

// connect returns connections to the file at the absolute path, which must
// exist: SQLite is never left to create one.
func connect(path string, pragmas []string) (*sql.DB, error) {
	query := url.Values{"mode": {"rw"}, "_pragma": pragmas}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening store %s: %w", path, err)
	}
	return db, nil
}

const corruptAdvice = "stop the process, keep the file for analysis, and put the last backup in its place together with no -wal or -shm file"

func corrupt(path, reason string) error {
	return &store.CorruptError{Path: path, Reason: reason, Advice: corruptAdvice}
}

// translate gives SQLite's error codes (https://www.sqlite.org/rescode.html)
// the names of this project. The low byte is the primary code.
func translate(path string, err error) error {
	var e *sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_FULL:
		return fmt.Errorf("%w (%s): %w", store.ErrFull, path, err)
	case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY, lib.SQLITE_BUSY, lib.SQLITE_PERM:
		return fmt.Errorf("%w (%s): %w", store.ErrIO, path, err)
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return corrupt(path, err.Error())
	default:
		return err
	}
}

// syncFolder makes a created or renamed file in the folder durable.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening folder: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
