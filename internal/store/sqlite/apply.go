package sqlite

import (
	"database/sql"
	"errors"
	"unicode/utf8"

	"github.com/casemate-dev/casemate/internal/store"
)

// carryOut applies one request on top of the ones before it in the group, and
// returns the revision that the store has then. A conflict is the request's own;
// an error returned is fatal to the group.
func (w *writer) carryOut(r *request, revision, at int64) (int64, error) {
	r.revision, r.err, r.events = revision, nil, nil
	for _, c := range r.compares {
		have, err := w.modRevision(c.Key)
		if err != nil {
			return revision, err
		}
		if err := c.Check(have); err != nil {
			r.revision, r.err = 0, err
			return revision, nil
		}
	}
	if len(r.ops) == 0 {
		return revision, nil
	}
	r.revision = revision + 1
	r.events = make([]store.Event, 0, len(r.ops))
	for _, op := range r.ops {
		if err := w.carryOutOp(r, op, at); err != nil {
			return revision, err
		}
	}
	return r.revision, nil
}

// modRevision returns 0 for a key that does not exist.
func (w *writer) modRevision(key string) (int64, error) {
	var revision int64
	err := w.find.QueryRow(key).Scan(&revision)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return revision, err
}

func (w *writer) carryOutOp(r *request, op store.Op, at int64) error {
	e := store.Event{Type: store.EventPut, KV: store.KV{Key: op.Key, ModRevision: r.revision}}
	if op.Kind == store.OpDelete {
		e.Type = store.EventDelete
		res, err := w.remove.Exec(op.Key)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
	} else {
		// The copy is for watchers; a nil slice would be stored as NULL.
		e.KV.Value = append([]byte{}, op.Value...)
		err := w.put.QueryRow(op.Key, e.KV.Value, r.revision).Scan(&e.KV.CreateRevision, &e.KV.Version)
		if err != nil {
			return err
		}
	}
	return w.remember(r, e, at)
}

// remember writes the event to the history.
func (w *writer) remember(r *request, e store.Event, at int64) error {
	value := e.KV.Value
	if value == nil {
		value = []byte{}
	}
	_, err := w.record.Exec(historyID(r.revision, len(r.events)), at, int(e.Type), e.KV.Key, value, e.KV.CreateRevision, e.KV.Version)
	if err != nil {
		return err
	}
	w.stored++
	w.storedBytes += int64(utf8.RuneCountInString(e.KV.Key) + len(value)) // as SQLite's length counts
	r.events = append(r.events, e)
	return nil
}
