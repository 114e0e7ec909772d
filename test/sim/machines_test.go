package sim

import (
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// noting is a commit of what was found out about a machine. What the host says
// meanwhile waits for it, as it does in the real fleet's stream.
type noting struct{ waits []func() }

// says takes a word of the host on which one it is, and then what it says. mu is
// held.
func (s *session) says(conn int, incarnation string, then func()) {
	if s.conn != conn || !s.connected {
		return
	}
	if s.noting != nil {
		s.noting.waits = append(s.noting.waits, func() { s.says(conn, incarnation, then) })
		return
	}
	if incarnation == s.machine.Incarnation {
		then()
		return
	}
	m := model.Machine{Incarnation: incarnation, Anew: s.machine.Anew}
	if s.machine.Incarnation != "" {
		m.Anew = s.fleet.w.clock().UTC()
		s.fleet.w.say("%s is found to be set up anew", s.host.name)
	}
	n := &noting{waits: []func(){func() { s.says(conn, incarnation, then) }}}
	s.noting = n
	go s.note(conn, m, n)
}

// note commits what was found out about a machine. If that fails the watch ends, and
// the host is connected to again later.
func (s *session) note(conn int, m model.Machine, n *noting) {
	w := s.fleet.w
	err := s.fleet.note(s.host.name, m)
	w.mu.Lock()
	defer w.mu.Unlock()
	s.noting = nil
	if err == nil {
		s.machine = m
		for _, f := range n.waits {
			f()
		}
		return
	}
	if s.conn == conn && s.connected {
		s.end()
		s.joining = false
		s.fallSilent()
		w.later(w.between("note "+s.host.name, time.Second, 5*time.Second), s.connect)
	}
}

// noLossUnexplained: what was lost with a machine whose name another one has taken is
// said to be lost by that, whichever coordinator found it out.
func (w *world) noLossUnexplained(s *seen, was change) {
	if w.restored || w.jumps > 0 {
		return // what is older than what is not known
	}
	host, reason := "", ""
	if u := s.update; u != nil && was.update != nil {
		host, reason = was.update.New.Host, u.Reason
	}
	if was.container != nil && was.container.Active != nil && s.container.Active == nil {
		host, reason = was.container.Active.Host, s.container.Reason
	}
	if reason == "ENCLAVE_LOST" && !w.host(host).forgotten {
		w.violate("anew", "%s lost what it had on %s, and is not told that another machine has its name", s.key, host)
	}
}
