package sqlite

import (
	"database/sql"
	"fmt"
)

// compactEvents bounds what one commit deletes, and with it how long it takes.
const compactEvents = 4096

// compact deletes history that is over its bounds, in the transaction at hand,
// and returns the revision up to which it is gone then. It goes to work when an
// eighth too much has gathered, so that most commits are spared it.
func (w *writer) compact(now int64) (int64, error) {
	through, err := w.expired(now)
	if err != nil {
		return 0, fmt.Errorf("looking for old history: %w", err)
	}
	if excess := w.events - int64(w.cfg.HistoryEvents); excess > int64(w.cfg.HistoryEvents)/8 {
		surplus, err := w.revisionAt(min(excess, compactEvents) - 1)
		if err != nil {
			return 0, fmt.Errorf("looking for surplus history: %w", err)
		}
		through = max(through, surplus)
	}
	if excess := w.bytes - w.cfg.HistoryBytes; excess > w.cfg.HistoryBytes/8 {
		surplus, err := w.revisionOf(excess)
		if err != nil {
			return 0, fmt.Errorf("looking for surplus history: %w", err)
		}
		through = max(through, surplus)
	}
	// What this group adds stays, whatever its size.
	through = min(through, w.revision)
	if through <= w.compacted {
		return w.compacted, nil
	}
	var deleted, bytes int64
	below := historyID(through+1, 0)
	err = w.conn.QueryRowContext(background, `SELECT count(*), coalesce(sum(length(key) + length(value)), 0) FROM history WHERE id < ?`, below).Scan(&deleted, &bytes)
	if err == nil {
		_, err = w.conn.ExecContext(background, `DELETE FROM history WHERE id < ?`, below)
	}
	if err != nil {
		return 0, fmt.Errorf("compacting history: %w", err)
	}
	w.stored -= deleted
	w.storedBytes -= bytes
	return through, nil
}

// expired returns the revision up to which history is too old. It looks no
// further than compactEvents, and at the oldest event alone if that is young.
func (w *writer) expired(now int64) (int64, error) {
	limit := now - w.cfg.HistoryAge.Milliseconds()
	var oldest sql.NullInt64
	err := w.conn.QueryRowContext(background, `SELECT (SELECT at FROM history ORDER BY id LIMIT 1)`).Scan(&oldest)
	if err != nil || !oldest.Valid || oldest.Int64 >= limit {
		return 0, err
	}
	var revision int64
	err = w.conn.QueryRowContext(background, `
SELECT max(id) >> 10 FROM (SELECT id, at FROM history ORDER BY id LIMIT ?) WHERE at < ?`, compactEvents, limit).Scan(&revision)
	return revision, err
}

// revisionAt returns the revision of the event at an offset from the oldest.
func (w *writer) revisionAt(offset int64) (int64, error) {
	var revision int64
	err := w.conn.QueryRowContext(background, `SELECT id >> 10 FROM history ORDER BY id LIMIT 1 OFFSET ?`, offset).Scan(&revision)
	return revision, err
}

// revisionOf returns the revision of the event with which the oldest ones together
// have so many bytes. It looks no further than compactEvents.
func (w *writer) revisionOf(bytes int64) (int64, error) {
	var revision int64
	err := w.conn.QueryRowContext(background, `
SELECT max(id) >> 10 FROM (
	SELECT id, sum(bytes) OVER (ORDER BY id) - bytes AS before
	FROM (SELECT id, length(key) + length(value) AS bytes FROM history ORDER BY id LIMIT ?)
) WHERE before < ?`, compactEvents, bytes).Scan(&revision)
	return revision, err
}
