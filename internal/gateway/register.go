package gateway

import (
	"cmp"
	"slices"
	"sync"
)

// register holds every tally and every entry that still has connections. The
// counting itself is atomic; the lock is for the sets.
type register struct {
	mu       sync.Mutex
	enclaves map[string]*tally
	// entries are those of the table in force and the replaced ones with
	// connections.
	entries map[*entry]bool
	// changed is signalled when the number of a draining enclave changes or the
	// table does, emptied when such a number has become zero, lost when an enclave
	// was lost with its host.
	changed, emptied, lost broadcast
}

func newRegister() *register {
	return &register{enclaves: map[string]*tally{}, entries: map[*entry]bool{}}
}

// tallyFor returns the tally of an enclave; the next adopt keeps it if an entry
// uses it.
func (g *register) tallyFor(enclave string) *tally {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.enclaves[enclave]
	if t == nil {
		t = &tally{id: enclave, register: g}
		g.enclaves[enclave] = t
	}
	return t
}

// adopt takes over the entries of a new table, marks the enclaves none of them
// serves as draining, and forgets what is replaced and has no connection and can
// gain none.
func (g *register) adopt(t *Table) {
	g.mu.Lock()
	serving := map[*tally]bool{}
	inForce := map[*entry]bool{}
	for _, e := range t.entries {
		g.entries[e] = true
		inForce[e] = true
		if e.route.State == Serving {
			serving[e.enclave] = true
		}
	}
	used := map[*tally]bool{}
	for e := range g.entries {
		if !inForce[e] && e.isQuiet() && e.open.Load() == 0 {
			delete(g.entries, e)
			continue
		}
		used[e.enclave] = true
	}
	for id, tl := range g.enclaves {
		tl.draining.Store(!serving[tl])
		if !used[tl] {
			delete(g.enclaves, id)
		}
	}
	g.mu.Unlock()
	g.changed.signal()
	g.emptied.signal() // a draining enclave may have been empty before
}

// lose marks the enclaves that were lost with their host and that no route in
// force leads to.
func (g *register) lose(ids []string) {
	g.mu.Lock()
	news := false
	for _, id := range ids {
		if t := g.enclaves[id]; t != nil && t.draining.Load() && !t.lost.Swap(true) {
			news = true
		}
	}
	g.mu.Unlock()
	if news {
		g.lost.signal()
	}
}

// open is the number of connections to one enclave.
func (g *register) open(enclave string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.enclaves[enclave]; t != nil {
		return int(t.open.Load())
	}
	return 0
}

// counts lists the enclaves that serve or have connections, by id.
func (g *register) counts(keep func(*tally) bool) []EnclaveCount {
	g.mu.Lock()
	defer g.mu.Unlock()
	byID := map[string]*EnclaveCount{}
	for id, t := range g.enclaves {
		if id != "" && keep(t) {
			byID[id] = &EnclaveCount{Enclave: id, Open: int(t.open.Load()), Draining: t.draining.Load()}
		}
	}
	for e := range g.entries {
		if c := byID[e.enclave.id]; c != nil {
			c.Routes = append(c.Routes, RouteCount{e.route.Domain, e.route.Generation, int(e.open.Load())})
		}
	}
	out := make([]EnclaveCount, 0, len(byID))
	for _, c := range byID {
		slices.SortFunc(c.Routes, func(a, b RouteCount) int {
			return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Generation, b.Generation))
		})
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b EnclaveCount) int { return cmp.Compare(a.Enclave, b.Enclave) })
	return out
}
