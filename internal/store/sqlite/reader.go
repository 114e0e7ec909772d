package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/internal/store"
)

// enter begins every call but Txn, and keeps Close waiting until leave.
func (s *Store) enter(ctx context.Context) error {
	s.calls.RLock()
	err := ctx.Err()
	if s.closed.Load() {
		err = store.ErrClosed
	}
	if err != nil {
		s.calls.RUnlock()
	}
	return err
}

func (s *Store) leave() { s.calls.RUnlock() }

// failure says why a read failed: the caller's context or the disk.
func (s *Store) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("reading the store: %w", translate(s.cfg.Path, err))
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.KV, error) {
	if err := s.enter(ctx); err != nil {
		return store.KV{}, err
	}
	defer s.leave()
	if err := store.CheckKey(key); err != nil {
		return store.KV{}, err
	}
	kv := store.KV{Key: key}
	err := s.readers.QueryRowContext(ctx, `SELECT value, create_revision, mod_revision, version FROM records WHERE key = ?`, key).
		Scan(&kv.Value, &kv.CreateRevision, &kv.ModRevision, &kv.Version)
	if errors.Is(err, sql.ErrNoRows) {
		return store.KV{}, store.ErrNotFound
	}
	if err != nil {
		return store.KV{}, s.failure(ctx, err)
	}
	return kv, nil
}

// Revision implements store.Store.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	var revision int64
	if err := s.readers.QueryRowContext(ctx, `SELECT revision FROM meta`).Scan(&revision); err != nil {
		return 0, s.failure(ctx, err)
	}
	return revision, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, opts store.ListOptions) (store.ListResult, error) {
	if err := s.enter(ctx); err != nil {
		return store.ListResult{}, err
	}
	defer s.leave()
	if err := store.CheckList(prefix, opts); err != nil {
		return store.ListResult{}, err
	}
	var res store.ListResult
	err := s.snapshot(ctx, func(tx *sql.Tx) (err error) {
		res, err = list(ctx, tx, prefix, opts)
		return err
	})
	if err != nil {
		return store.ListResult{}, s.failure(ctx, err)
	}
	return res, nil
}

// snapshot runs read within one read transaction.
func (s *Store) snapshot(ctx context.Context, read func(*sql.Tx) error) error {
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return read(tx)
}

func list(ctx context.Context, tx *sql.Tx, prefix string, opts store.ListOptions) (res store.ListResult, err error) {
	if err := tx.QueryRowContext(ctx, `SELECT revision FROM meta`).Scan(&res.Revision); err != nil {
		return res, err
	}
	limit := -1
	if opts.Limit > 0 {
		limit = opts.Limit + 1
	}
	rows, err := tx.QueryContext(ctx, `
SELECT key, value, create_revision, mod_revision, version FROM records
WHERE key >= ? AND key < ? ORDER BY key LIMIT ?`, listStart(prefix, opts.After), prefixEnd(prefix), limit)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if len(res.KVs) == opts.Limit && opts.Limit > 0 {
			res.More = true
			break
		}
		var kv store.KV
		if err := rows.Scan(&kv.Key, &kv.Value, &kv.CreateRevision, &kv.ModRevision, &kv.Version); err != nil {
			return res, err
		}
		res.KVs = append(res.KVs, kv)
	}
	return res, rows.Err()
}

// listStart returns the least string that can begin a page. One bound, and not
// two in the query, because SQLite would seek by either and filter by the other.
func listStart(prefix, after string) string {
	if after < prefix {
		return prefix
	}
	return after + "\x00"
}

// prefixEnd returns a string above every key with the prefix and below every
// other key above it. Keys are UTF-8, in which no byte is 0xff.
func prefixEnd(prefix string) string { return prefix + "\xff" }
