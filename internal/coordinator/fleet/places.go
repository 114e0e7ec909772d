package fleet

import (
	"slices"
	"strings"
	"sync"

	"github.com/casemate-dev/casemate/internal/coordinator/plan"
)

// places is the planner's view of the hosts as it was last worked out. A plan
// looks at every host, of which few have changed since the plan before: only
// those are worked out again.
type places struct {
	// mu is taken before Fleet.mu.
	mu sync.Mutex
	// hosts is by name, and shared with whoever it was given to: it is replaced,
	// never changed.
	hosts []plan.Host

	// staleMu is taken last of all locks.
	staleMu sync.Mutex
	stale   map[string]bool
}

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

// Plan returns the hosts as the planner sees them, by name. The caller must not
// change them.
func (f *Fleet) Plan() []plan.Host {
	p := &f.places
	p.mu.Lock()
	defer p.mu.Unlock()
	stale := p.takeStale()
	if len(stale) == 0 {
		return p.hosts
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	hosts, known := slices.Clone(p.hosts), len(p.hosts)
	for name := range stale {
		i, found := slices.BinarySearchFunc(p.hosts, name, byName)
		s := f.hosts[name]
		switch {
		case s != nil && found:
			hosts[i] = f.place(name, s)
		case s != nil:
			hosts = append(hosts, f.place(name, s))
		case found:
			hosts[i].Name = ""
		}
	}
	if len(hosts) > known {
		slices.SortFunc(hosts, func(a, b plan.Host) int { return byName(a, b.Name) })
	}
	hosts = slices.DeleteFunc(hosts, func(h plan.Host) bool { return h.Name == "" })
	p.hosts = slices.Clip(hosts)
	return p.hosts
}

func byName(h plan.Host, name string) int { return strings.Compare(h.Name, name) }

// place is planHost for a session that is not locked yet; f.mu is held.
func (f *Fleet) place(name string, s *session) plan.Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.planHost(name, s)
}
