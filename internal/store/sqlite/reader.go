package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/internal/store"
)

const (
	getQuery = `SELECT value, create_revision, mod_revision, version FROM records WHERE key = ?`
	// The revision and the records are of the same moment. If there are no records,
	// the revision comes with nulls.
	listQuery = `
SELECT m.revision, r.key, r.value, r.create_revision, r.mod_revision, r.version
FROM meta m LEFT JOIN records r ON r.key >= ? AND r.key < ? WHERE m.id = 1 ORDER BY r.key LIMIT ?`
	revisionQuery = `SELECT revision FROM meta`
)

// queries are the statements by which nearly everything is read. A connection parses
// each of them once.
type queries struct{ get, list, revision *sql.Stmt }

func prepareQueries(ctx context.Context, db *sql.DB) (q queries, err error) {
	for to, text := range map[**sql.Stmt]string{&q.get: getQuery, &q.list: listQuery, &q.revision: revisionQuery} {
		if *to, err = db.PrepareContext(ctx, text); err != nil {
			return queries{}, fmt.Errorf("preparing to read the store: %w", err)
		}
	}
	return q, nil
}

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
	err := s.queries.get.QueryRowContext(ctx, key).Scan(&kv.Value, &kv.CreateRevision, &kv.ModRevision, &kv.Version)
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
	if err := s.queries.revision.QueryRowContext(ctx).Scan(&revision); err != nil {
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
	res, err := s.list(ctx, prefix, opts)
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

func (s *Store) list(ctx context.Context, prefix string, opts store.ListOptions) (res store.ListResult, err error) {
	limit := -1
	if opts.Limit > 0 {
		limit = opts.Limit + 1
	}
	rows, err := s.queries.list.QueryContext(ctx, listStart(prefix, opts.After), prefixEnd(prefix), limit)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key sql.NullString
		var created, modified, version sql.NullInt64
		var kv store.KV
		if err := rows.Scan(&res.Revision, &key, &kv.Value, &created, &modified, &version); err != nil {
			return res, err
		}
		if !key.Valid {
			break
		}
		if len(res.KVs) == opts.Limit && opts.Limit > 0 {
			res.More = true
			break
		}
		kv.Key, kv.CreateRevision, kv.ModRevision, kv.Version = key.String, created.Int64, modified.Int64, version.Int64
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
