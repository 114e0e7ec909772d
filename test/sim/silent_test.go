package sim

import (
	"sort"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// keepSilent tells that a host which can't be reached has been silent for long.
func (w *world) keepSilent(a action) {
	h := w.pick(a)
	if h.reachable() {
		return
	}
	w.say("%s has been silent for long", h.name)
	for _, c := range w.coords {
		if s := c.fleet.sessions[h.name]; s != nil && !c.fleet.closed && !s.connected {
			s.silent()
		}
	}
}

// silent tells whoever was promised room on the host that it does not answer.
func (s *session) silent() {
	f := s.fleet
	var ids []string
	for id := range f.promised[s.host.name] {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		p := f.promised[s.host.name][id]
		f.sink(model.ContainerKey{Org: p.Org, Name: p.Container}, model.Observation{Enclave: id, Host: s.host.name, State: model.EnclaveSilent})
	}
}
