package sim

import (
	"context"

	"github.com/casemate-dev/casemate/internal/store"
)

// watching replays the store's changes from one revision on: I10.
type watching struct {
	w    store.Watcher
	have map[string]string
}

func (w *world) watchFromHere() *watching {
	page, err := w.disk.List(context.Background(), "", store.ListOptions{})
	if err != nil {
		panic(err)
	}
	out := &watching{have: map[string]string{}}
	for _, kv := range page.KVs {
		out.have[kv.Key] = string(kv.Value)
	}
	if out.w, err = w.disk.Watch(context.Background(), "", page.Revision); err != nil {
		panic(err)
	}
	return out
}

func (x *watching) close() { x.w.Close() }

// compare checks that replaying a watch from any token gives what List gives.
func (x *watching) compare(w *world) {
	defer x.w.Close()
	page, err := w.disk.List(context.Background(), "", store.ListOptions{})
	if err != nil {
		panic(err)
	}
	for at := int64(0); at < page.Revision; {
		b, err := x.w.Next(context.Background())
		if err != nil {
			// The reader is too slow on purpose: the history is bounded.
			return
		}
		at = b.Revision
		for _, ev := range b.Events {
			if ev.Type == store.EventDelete {
				delete(x.have, ev.KV.Key)
			} else {
				x.have[ev.KV.Key] = string(ev.KV.Value)
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(page.KVs) != len(x.have) {
		w.violate("I10", "the watch gives %d records, List gives %d", len(x.have), len(page.KVs))
	}
	for _, kv := range page.KVs {
		if x.have[kv.Key] != string(kv.Value) {
			w.violate("I10", "the watch gives another %s than List", kv.Key)
		}
	}
}
