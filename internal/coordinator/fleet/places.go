package fleet

import (
	"slices"
	"strings"
	"sync"

	"github.com/casemate-dev/casemate/internal/coordinator/plan"
)

// places is the planner's view of the hosts as it was last worked out. A plan
// looks at every host, of which few have changed since the plan before: only
// those are worked out again, and only their pages copied.
type places struct {
	// mu is taken before Fleet.mu.
	mu sync.Mutex
	// hosts is by name, and shared with whoever it was given to: its pages are
	// replaced, never changed.
	hosts plan.Hosts

	// staleMu is taken last of all locks.
	staleMu sync.Mutex
	stale   map[string]bool
}

// pageSize is how many hosts are copied when one has changed.
const pageSize = 64

// touch notes that a host has changed, come or gone.
func (p *places) touch(host string) {
	p.staleMu.Lock()
	defer p.staleMu.Unlock()
	if p.stale == nil {
		p.stale = map[string]bool{}
	}
	p.stale[host] = true
}

func (p *places) takeStale() map[string]bool {
	p.staleMu.Lock()
	defer p.staleMu.Unlock()
	stale := p.stale
	p.stale = nil
	return stale
}

// find returns the page of a host and its place there.
func (p *places) find(name string) (page, at int, found bool) {
	page, _ = slices.BinarySearchFunc(p.hosts, name, func(hosts []plan.Host, name string) int {
		return byName(hosts[len(hosts)-1], name)
	})
	if page == len(p.hosts) {
		return 0, 0, false
	}
	at, found = slices.BinarySearchFunc(p.hosts[page], name, byName)
	return page, at, found
}

// Plan returns the hosts as the planner sees them, by name. The caller must not
// change them.
func (f *Fleet) Plan() plan.Hosts {
	p := &f.places
	p.mu.Lock()
	defer p.mu.Unlock()
	stale := p.takeStale()
	if len(stale) == 0 {
		return p.hosts
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	hosts, copied := slices.Clone(p.hosts), map[int]bool{}
	var come []plan.Host
	gone := false
	for name := range stale {
		s := f.hosts[name]
		page, at, found := p.find(name)
		if !found {
			if s != nil {
				come = append(come, f.place(name, s))
			}
			continue
		}
		if !copied[page] {
			hosts[page], copied[page] = slices.Clone(hosts[page]), true
		}
		if s == nil {
			hosts[page][at], gone = plan.Host{}, true
			continue
		}
		hosts[page][at] = f.place(name, s)
	}
	if gone || len(come) > 0 {
		hosts = paged(append(slices.Concat(hosts...), come...))
	}
	p.hosts = hosts
	return hosts
}

// paged sorts hosts into pages and leaves out those without a name.
func paged(hosts []plan.Host) plan.Hosts {
	hosts = slices.DeleteFunc(hosts, func(h plan.Host) bool { return h.Name == "" })
	slices.SortFunc(hosts, func(a, b plan.Host) int { return byName(a, b.Name) })
	return slices.Collect(slices.Chunk(hosts, pageSize))
}

func byName(h plan.Host, name string) int { return strings.Compare(h.Name, name) }

// place is planHost for a session that is not locked yet; f.mu is held.
func (f *Fleet) place(name string, s *session) plan.Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.planHost(name, s)
}
