package storetest

import (
	"slices"
	"strings"

	"github.com/casemate-dev/casemate/internal/store"
)

// model is the store as it should be: a map, a number, and all of history.
type model struct {
	records  map[string]store.KV
	revision int64
	history  []store.Batch
}

func newModel() *model { return &model{records: make(map[string]store.KV)} }

// txn returns the error and the revision that the store must give.
func (m *model) txn(compares []store.Compare, ops []store.Op) (int64, error) {
	for _, c := range compares {
		if err := c.Check(m.records[c.Key].ModRevision); err != nil {
			return 0, err
		}
	}
	if len(ops) == 0 {
		return m.revision, nil
	}
	m.revision++
	b := store.Batch{Revision: m.revision}
	for _, op := range ops {
		old, exists := m.records[op.Key]
		switch {
		case op.Kind == store.OpPut && exists:
			old.Value, old.ModRevision, old.Version = op.Value, m.revision, old.Version+1
			b.Events = append(b.Events, m.put(old))
		case op.Kind == store.OpPut:
			b.Events = append(b.Events, m.put(store.KV{Key: op.Key, Value: op.Value, CreateRevision: m.revision, ModRevision: m.revision, Version: 1}))
		case exists:
			delete(m.records, op.Key)
			b.Events = append(b.Events, store.Event{Type: store.EventDelete, KV: store.KV{Key: op.Key, ModRevision: m.revision}})
		}
	}
	m.history = append(m.history, b)
	return m.revision, nil
}

func (m *model) put(kv store.KV) store.Event {
	m.records[kv.Key] = kv
	return store.Event{Type: store.EventPut, KV: kv}
}

// list returns what the store must list.
func (m *model) list(prefix string, opts store.ListOptions) store.ListResult {
	res := store.ListResult{Revision: m.revision}
	for key, kv := range m.records {
		if strings.HasPrefix(key, prefix) && key > opts.After {
			res.KVs = append(res.KVs, kv)
		}
	}
	slices.SortFunc(res.KVs, func(a, b store.KV) int { return strings.Compare(a.Key, b.Key) })
	if opts.Limit > 0 && len(res.KVs) > opts.Limit {
		res.KVs, res.More = res.KVs[:opts.Limit], true
	}
	return res
}

// changes returns the batches that a watch of prefix from a revision must give.
func (m *model) changes(prefix string, from int64) []store.Batch {
	var out []store.Batch
	for _, b := range m.history {
		if b.Revision <= from {
			continue
		}
		matching := store.Batch{Revision: b.Revision}
		for _, e := range b.Events {
			if strings.HasPrefix(e.KV.Key, prefix) {
				matching.Events = append(matching.Events, e)
			}
		}
		if len(matching.Events) > 0 {
			out = append(out, matching)
		}
	}
	return out
}

// replay applies batches to a copy of records, as a client of a watch would.
func replay(records map[string]store.KV, batches []store.Batch) {
	for _, b := range batches {
		for _, e := range b.Events {
			if e.Type == store.EventDelete {
				delete(records, e.KV.Key)
			} else {
				records[e.KV.Key] = e.KV
			}
		}
	}
}
