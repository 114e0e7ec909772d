package fake

import (
	"context"
	"sync"

	"github.com/casemate-dev/casemate/pkg/enclave"
)

// hub tells watchers which enclaves have changed. It keeps ids, not states: a
// slow watcher costs no more than one entry per enclave.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]bool
}

type watcher struct {
	mu      sync.Mutex
	pending []string
	queued  map[string]bool
	wake    chan struct{} // capacity 1
}

func newHub() *hub { return &hub{watchers: map[*watcher]bool{}} }

// notify tells every watcher of this id.
func (h *hub) notify(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.add(id)
	}
}

func (w *watcher) add(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.queued[id] {
		w.queued[id] = true
		w.pending = append(w.pending, id)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest id.
func (w *watcher) next() (id string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return "", false
	}
	id = w.pending[0]
	w.pending = w.pending[1:]
	delete(w.queued, id)
	return id, true
}

// watch registers a watcher, which hears of everything from now on.
func (h *hub) watch() *watcher {
	w := &watcher{queued: map[string]bool{}, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = true
	return w
}

// deliver sends the watcher's events until ctx ends, then forgets the watcher and
// closes the channel.
func (h *hub) deliver(ctx context.Context, w *watcher, out chan<- enclave.Event) {
	defer close(out)
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	}()
	for {
		id, ok := w.next()
		if !ok {
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		select {
		case out <- enclave.Event{ID: id}:
		case <-ctx.Done():
			return
		}
	}
}
