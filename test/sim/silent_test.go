package sim

import (
	"sort"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// keepSilent tells that a host which can't be reached is silent, or has been for
// long.
func (w *world) keepSilent(a action) {
	h, long := w.pick(a), a.B%3 > 0
	if h.reachable() {
		return
	}
	w.say("%s is silent (for long: %v)", h.name, long)
	for _, c := range w.coords {
		if s := c.fleet.sessions[h.name]; s != nil && !c.fleet.closed && !s.connected {
			s.silent(long)
		}
	}
}

// silent tells whoever was promised room on the host that it does not answer.
func (s *session) silent(long bool) {
	f := s.fleet
	var ids []string
	for id := range f.promised[s.host.name] {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		p := f.promised[s.host.name][id]
		f.sink(model.ContainerKey{Org: p.Org, Name: p.Container}, model.Observation{
			Enclave: id, Host: s.host.name, State: model.EnclaveSilent, Since: f.w.clock().UTC(), Long: long,
		})
	}
}
