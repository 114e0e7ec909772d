package agent

import (
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// board is what is told of the enclaves. An enclave on it is never changed, only
// replaced by a newer one.
type board struct {
	mu         sync.Mutex // guards all below
	generation int64
	enclaves   map[string]*agentv1.Enclave
	watches    map[*watch]struct{}
}

// newBoard returns an empty board whose generations begin after first.
func newBoard(first int64) *board {
	return &board{generation: first, enclaves: map[string]*agentv1.Enclave{}, watches: map[*watch]struct{}{}}
}

// publish puts e in place of what was told before, with a new generation, and
// returns what is told now. If nothing changed, nobody is told. The board owns e
// from then on.
func (b *board) publish(e *agentv1.Enclave) *agentv1.Enclave {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.enclaves[e.GetId()]; old != nil {
		e.Generation = old.GetGeneration()
		if proto.Equal(old, e) {
			return old
		}
	}
	b.generation++
	e.Generation = b.generation
	b.enclaves[e.GetId()] = e
	b.tell(e.GetId())
	return e
}

// remove takes an enclave off the board.
func (b *board) remove(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.enclaves[id]; !ok {
		return
	}
	delete(b.enclaves, id)
	b.tell(id)
}

// get returns an enclave, or nil.
func (b *board) get(id string) *agentv1.Enclave {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.enclaves[id]
}

// list returns the enclaves whose id comes after the given one, by id.
func (b *board) list(after string) []*agentv1.Enclave {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sorted(func(id string) bool { return id > after })
}

func (b *board) sorted(keep func(id string) bool) []*agentv1.Enclave {
	var out []*agentv1.Enclave
	for _, id := range slices.Sorted(maps.Keys(b.enclaves)) {
		if keep(id) {
			out = append(out, b.enclaves[id])
		}
	}
	return out
}

// len is how many enclaves are on the board.
func (b *board) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.enclaves)
}

func (b *board) tell(id string) {
	for w := range b.watches {
		w.mark(id)
	}
}

// watch is one reader of changes. Changes of one enclave that were not taken yet
// are merged, so that what waits is bounded by the number of enclaves.
type watch struct {
	board   *board
	only    string // an id, or empty for all
	pending []string
	wake    chan struct{} // holds one token while something is pending
}

// watch begins to watch one enclave, or all if only is empty, and returns those
// that are there now. The watch tells what changes from then on.
func (b *board) watch(only string) (*watch, []*agentv1.Enclave) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &watch{board: b, only: only, wake: make(chan struct{}, 1)}
	b.watches[w] = struct{}{}
	return w, b.sorted(func(id string) bool { return only == "" || id == only })
}

// close ends the watch.
func (w *watch) close() {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	delete(w.board.watches, w)
}

// mark needs the board's lock.
func (w *watch) mark(id string) {
	if w.only != "" && w.only != id || slices.Contains(w.pending, id) {
		return
	}
	w.pending = append(w.pending, id)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the next changed enclave as it is now, nil if it was deleted; ok
// is false if nothing changed.
func (w *watch) take() (id string, e *agentv1.Enclave, ok bool) {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	if len(w.pending) == 0 {
		return "", nil, false
	}
	id, w.pending = w.pending[0], w.pending[1:]
	return id, w.board.enclaves[id], true
}
