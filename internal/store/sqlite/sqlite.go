// Package sqlite is the store.Store that survives: one SQLite file in WAL mode
// with full synchronisation, written by one connection and read by several.
//
// Transactions that wait while another is being committed are committed
// together, with one fsync for all of them; each has its own revision and its
// own outcome. The history that watch tokens refer to is kept in the same file,
// bounded by count, size and age.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/feed"
)

// Defaults of a Config.
const (
	DefaultHistoryEvents = 100_000
	DefaultHistoryBytes  = 1 << 30
	DefaultHistoryAge    = 24 * time.Hour
	DefaultReaders       = 4
)

// logBytes bounds the recent history held in memory as well as in the file.
const logBytes = 16 << 20

// Config says where the store is and how much history it keeps.
type Config struct {
	// Path is the database file. It is created, with mode 0600, if neither it
	// nor its write-ahead log exists; its folder must exist.
	Path string
	// HistoryEvents is about how many events are kept for watchers.
	HistoryEvents int
	// HistoryBytes is about how many bytes their keys and values may have.
	HistoryBytes int64
	// HistoryAge is about how long they are kept. All three bounds hold.
	HistoryAge time.Duration
	// BookmarkEvery is the number of revisions between bookmarks of an idle
	// watcher; default feed.DefaultBookmarkEvery.
	BookmarkEvery int64
	// Readers is the number of connections that read at the same time.
	Readers int
	// Now is the clock by which history ages; default time.Now.
	Now func() time.Time

	// at is called at the named points of a commit, of making or migrating the
	// file, and of a backup, by tests that die there.
	at func(point string)
}

func (c Config) withDefaults() (Config, error) {
	if c.Path == "" {
		return c, fmt.Errorf("sqlite store: %w: no path given", store.ErrInvalid)
	}
	if c.HistoryEvents < 0 || c.HistoryBytes < 0 || c.HistoryAge < 0 || c.BookmarkEvery < 0 || c.Readers < 0 {
		return c, fmt.Errorf("sqlite store: %w: a bound is negative", store.ErrInvalid)
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return c, fmt.Errorf("sqlite store: %w", err)
	}
	c.Path = path
	c.HistoryEvents = orDefault(c.HistoryEvents, DefaultHistoryEvents)
	c.HistoryBytes = orDefault(c.HistoryBytes, DefaultHistoryBytes)
	c.HistoryAge = orDefault(c.HistoryAge, DefaultHistoryAge)
	c.Readers = orDefault(c.Readers, DefaultReaders)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.at == nil {
		c.at = func(string) {}
	}
	return c, nil
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Store implements store.Store on one SQLite file.
type Store struct {
	cfg     Config
	lock    *os.File
	readers *sql.DB
	queries queries
	log     *feed.Log

	requests chan *request
	closing  chan struct{}
	closed   atomic.Bool
	// calls is held for reading by every call that uses readers.
	calls     sync.RWMutex
	closeOnce sync.Once
	closeErr  error
	// written is closed when the writer, its connection included, is gone.
	written chan struct{}
}

var _ store.Store = (*Store)(nil)

// Open opens the store at cfg.Path, creating it if there is none, and starts its
// writer. It reads the whole file once, to be sure of it.
//
// ErrLocked says that another process has it open; ErrCorrupt (a
// *store.CorruptError) that the file is damaged or is something else;
// ErrNewerSchema that a newer program wrote it. In none of these cases is the
// file repaired, replaced or migrated.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	lock, err := acquire(cfg.Path + ".lock")
	if err != nil {
		return nil, err
	}
	s, err := openLocked(ctx, cfg, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func openLocked(ctx context.Context, cfg Config, lock *os.File) (*Store, error) {
	if err := prepareFile(ctx, cfg); err != nil {
		return nil, err
	}
	if err := inspect(ctx, cfg.Path); err != nil {
		return nil, fmt.Errorf("opening store %s: %w", cfg.Path, translate(cfg.Path, err))
	}
	w, err := openWriter(ctx, cfg)
	if err != nil {
		return nil, err
	}
	readers, err := connect(cfg.Path, readerPragmas)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	readers.SetMaxOpenConns(cfg.Readers)
	readers.SetMaxIdleConns(cfg.Readers)
	queries, err := prepareQueries(ctx, readers)
	if err != nil {
		return nil, errors.Join(translate(cfg.Path, err), readers.Close(), w.close())
	}
	s := &Store{
		cfg:      cfg,
		lock:     lock,
		readers:  readers,
		queries:  queries,
		requests: make(chan *request),
		closing:  make(chan struct{}),
		written:  make(chan struct{}),
	}
	s.log = feed.New(feed.Config{
		Revision:      w.revision,
		MaxEvents:     min(cfg.HistoryEvents, feed.DefaultMaxEvents),
		MaxBytes:      logBytes,
		BookmarkEvery: cfg.BookmarkEvery,
		Older:         s.older,
	})
	go s.write(w)
	return s, nil
}

// Close implements store.Store: transactions that were taken up are committed,
// calls in progress are waited for, then the file is checkpointed, closed and
// unlocked.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.closed.Store(true)
		s.calls.Lock()
		readersErr := s.readers.Close()
		s.calls.Unlock()
		close(s.closing)
		<-s.written
		s.log.Close()
		s.closeErr = errors.Join(readersErr, s.closeErr, s.lock.Close())
	})
	return s.closeErr
}
