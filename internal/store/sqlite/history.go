package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/internal/store"
)

// A page of history ends with the transaction that reaches one of these.
const (
	pageEvents = 1024
	pageBytes  = 1 << 20
)

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, from int64) (store.Watcher, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := store.CheckWatch(prefix, from); err != nil {
		return nil, err
	}
	if err := s.checkToken(ctx, from); err != nil {
		return nil, err
	}
	w, err := s.log.Watch(prefix, from)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// checkToken asks the file where memory can't tell. What has been committed is
// seen by readers a moment before it is in the log, so that a token may be ahead
// of the log and yet good.
func (s *Store) checkToken(ctx context.Context, from int64) error {
	oldest := s.log.Oldest()
	if from >= oldest && from <= s.log.Latest() {
		return nil
	}
	var revision, compacted int64
	if err := s.readers.QueryRowContext(ctx, `SELECT revision, compacted FROM meta`).Scan(&revision, &compacted); err != nil {
		return s.failure(ctx, err)
	}
	if from > revision {
		return store.ErrFutureRevision
	}
	if compacted = min(compacted, oldest); from < compacted {
		return &store.CompactedError{From: from, Oldest: compacted}
	}
	return nil
}

// older is the feed.Older of this store.
func (s *Store) older(ctx context.Context, prefix string, from int64) (batches []store.Batch, through int64, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, 0, err
	}
	defer s.leave()
	err = s.snapshot(ctx, func(tx *sql.Tx) (err error) {
		var compacted int64
		if err := tx.QueryRowContext(ctx, `SELECT revision, compacted FROM meta`).Scan(&through, &compacted); err != nil {
			return err
		}
		if from < compacted {
			return &store.CompactedError{From: from, Oldest: compacted}
		}
		batches, through, err = readHistory(ctx, tx, prefix, from, through)
		return err
	})
	if errors.Is(err, store.ErrCompacted) {
		return nil, 0, err
	}
	if err != nil {
		return nil, 0, s.failure(ctx, err)
	}
	return batches, through, nil
}

// readHistory returns whole batches of the changes after from, and the revision
// through which they are complete: latest unless the page filled up before.
func readHistory(ctx context.Context, tx *sql.Tx, prefix string, from, latest int64) (batches []store.Batch, through int64, err error) {
	rows, err := tx.QueryContext(ctx, `
SELECT id, type, key, value, create_revision, version FROM history
WHERE id >= ? AND key >= ? AND key < ? ORDER BY id`, historyID(from+1, 0), prefix, prefixEnd(prefix))
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	events, bytes := 0, 0
	for rows.Next() {
		revision, e, err := scanEvent(rows)
		if err != nil {
			return nil, 0, err
		}
		last := len(batches) - 1
		if last >= 0 && batches[last].Revision == revision {
			batches[last].Events = append(batches[last].Events, e)
		} else {
			if events >= pageEvents || bytes >= pageBytes {
				return batches, batches[last].Revision, nil
			}
			batches = append(batches, store.Batch{Revision: revision, Events: []store.Event{e}})
		}
		events++
		bytes += len(e.KV.Key) + len(e.KV.Value)
	}
	return batches, latest, rows.Err()
}

func scanEvent(rows *sql.Rows) (revision int64, e store.Event, err error) {
	var id int64
	if err := rows.Scan(&id, &e.Type, &e.KV.Key, &e.KV.Value, &e.KV.CreateRevision, &e.KV.Version); err != nil {
		return 0, e, fmt.Errorf("reading an event: %w", err)
	}
	revision = id >> historyShift
	e.KV.ModRevision = revision
	return revision, e, nil
}
