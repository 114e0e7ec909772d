package sim

import (
	"errors"
	"slices"
	"sort"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// callTimeout is the real fleet's.
const callTimeout = 15 * time.Second

// fleet is one coordinator's side of the agents, as package fleet is, without
// gRPC between: what it knows of a host is what was delivered to it.
type fleet struct {
	w        *world
	cluster  string
	epoch    int64
	sink     func(model.ContainerKey, model.Observation)
	note     func(host string, m model.Machine) error
	sessions map[string]*session
	promised map[string]map[string]model.Reservation
	closed   bool
	// spared is until when this coordinator has what is of the time that was lost go on,
	// by a clock that has jumped sparedBy times.
	spared   time.Time
	sparedBy int
	// version counts what has become known of hosts; changed is closed with it.
	version int64
	changed chan struct{}
}

// session is what one coordinator knows of one host.
type session struct {
	fleet  *fleet
	host   *host
	record model.Host
	// conn counts connections: what was sent over an older one does not arrive.
	conn         int
	connected    bool
	synced, told bool
	// joining: it has yet to answer, or to be found out of reach, for the first time.
	joining bool
	known   map[string]*enclave
	facts   facts
	// machine is what is on record of the host's machine; noting is the commit by which
	// it becomes another. heard: the host has said something.
	machine      model.Machine
	noting       *noting
	heard        bool
	changed      chan struct{}
	lastEnclaves time.Time
	lastFacts    time.Time
	version      int64
	// silence counts the times that the host was lost, last at lostAt.
	silence int
	lostAt  time.Time
	// removed: the host was forgotten.
	removed bool
}

// facts are what a host says of its room.
type facts struct {
	holders map[string]int
	free    model.Room
	offers  []int
}

func newFleet(w *world, id string, epoch int64, hosts []model.Host, machines map[string]model.Machine) *fleet {
	f := &fleet{
		w: w, cluster: id, epoch: epoch, sessions: map[string]*session{},
		promised: map[string]map[string]model.Reservation{}, changed: make(chan struct{}),
	}
	for _, h := range hosts {
		f.add(h).machine = machines[h.Name]
	}
	return f
}

func (f *fleet) add(h model.Host) *session {
	s := &session{fleet: f, host: f.w.host(h.Name), record: h, joining: true, known: map[string]*enclave{}, changed: make(chan struct{})}
	f.sessions[h.Name] = s
	return s
}

// Add follows a host from now on, as the real fleet does.
func (f *fleet) Add(h model.Host) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if s := f.sessions[h.Name]; s != nil {
		s.record = h
		s.wake()
		return nil
	}
	s := f.add(h)
	s.fallSilent()
	f.w.later(f.w.between("reconnect "+h.Name, 10*time.Millisecond, 2*time.Second), s.connect)
	return nil
}

// Remove forgets a host.
func (f *fleet) Remove(name string) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if s := f.sessions[name]; s != nil {
		delete(f.sessions, name)
		s.end()
		s.removed = true
	}
	return nil
}

// wake tells whoever waits for news of the host.
func (s *session) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
	f := s.fleet
	f.version++
	s.version = f.version
	close(f.changed)
	f.changed = make(chan struct{})
}

// connect begins the watches of a host, if it can be reached.
func (s *session) connect() {
	w, h := s.fleet.w, s.host
	if s.noting != nil {
		w.later(time.Second, s.connect)
		return
	}
	if s.connected || s.fleet.closed || s.removed || !h.reachable() || h.admit(s.fleet.cluster, s.fleet.epoch, "") != nil {
		s.joining = s.joining && s.connected
		return
	}
	s.connected, s.conn = true, s.conn+1
	s.silence++
	h.followers = append(h.followers, s)
	conn, incarnation := s.conn, h.incarnation()
	snapshot := map[string]*enclave{}
	for id, e := range h.enclaves {
		c := *e
		snapshot[id] = &c
	}
	s.lastEnclaves = inOrder(s.lastEnclaves, w.latency("watch "+h.name))
	w.later(time.Until(s.lastEnclaves), func() {
		s.says(conn, incarnation, func() {
			s.collected(snapshot)
			s.joins()
		})
	})
	s.sendFacts()
}

// joins notes that the host has told all it has.
func (s *session) joins() { s.joining = s.joining && !(s.synced && s.told) }

// inOrder is when the next message of a stream arrives.
func inOrder(last time.Time, latency time.Duration) time.Time {
	at := time.Now().Add(latency)
	if !at.After(last) {
		at = last.Add(time.Microsecond)
	}
	return at
}

func (s *session) collected(snapshot map[string]*enclave) {
	s.known, s.synced = snapshot, true
	s.wake()
	ids := make([]string, 0, len(snapshot))
	for id := range snapshot {
		ids = append(ids, id)
	}
	for id := range s.fleet.promised[s.host.name] {
		if snapshot[id] == nil {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	for _, id := range ids {
		s.tell(id)
	}
}

// tell hands what is known of an enclave to the runner.
func (s *session) tell(id string) {
	f := s.fleet
	o := model.Observation{Enclave: id, Host: s.host.name, Incarnation: s.machine.Incarnation, State: model.EnclaveAbsent, Anew: !s.machine.Anew.IsZero(), Since: s.machine.Anew}
	e := s.known[id]
	if e != nil {
		if e.cluster != f.cluster {
			return
		}
		o = e.observation(s.host.name, s.machine.Incarnation)
	}
	p, promised := f.promised[s.host.name][id]
	k := model.ContainerKey{Org: p.Org, Name: p.Container}
	switch {
	case promised:
	case e == nil:
		return
	default:
		k = e.key
	}
	f.w.heard(o)
	f.sink(k, o)
}

func (w *world) heard(o model.Observation) {
	if o.State == model.EnclaveHealthy {
		w.healthy[o.Enclave] = true
	}
}

func (s *session) sendFacts() {
	w, h, conn := s.fleet.w, s.host, s.conn
	now, incarnation := h.facts(), h.incarnation()
	s.lastFacts = inOrder(s.lastFacts, w.latency("facts "+h.name))
	w.later(time.Until(s.lastFacts), func() {
		s.says(conn, incarnation, func() {
			s.facts, s.told, s.heard = now, true, true
			s.joins()
			s.wake()
		})
	})
}

func (h *host) facts() facts {
	f := facts{holders: map[string]int{}, free: model.Room{GPUs: len(h.free()), CPUs: h.cpus, MemoryMiB: h.memory}}
	for _, g := range h.gpus {
		if g.holder != "" {
			f.holders[g.holder]++
		}
	}
	for _, n := range []int{0, 1, 2, 4, 8} {
		if n <= f.free.GPUs {
			f.offers = append(f.offers, n)
		}
	}
	return f
}

// changed tells every coordinator that follows the host.
func (h *host) changed(e *enclave) {
	e.version++
	c := *e
	h.send(e.id, &c)
}

func (h *host) send(id string, e *enclave) {
	if !h.up {
		return
	}
	for _, s := range h.followers {
		conn, incarnation := s.conn, h.incarnation()
		s.lastEnclaves = inOrder(s.lastEnclaves, h.w.latency("enclave "+id))
		h.w.later(time.Until(s.lastEnclaves), func() {
			s.says(conn, incarnation, func() {
				if e == nil {
					delete(s.known, id)
				} else {
					s.known[id] = e
				}
				s.wake()
				s.tell(id)
			})
		})
		s.sendFacts()
	}
}

// lost breaks every connection to the host.
func (h *host) lost() {
	for _, s := range h.followers {
		s.connected, s.synced, s.told, s.joining = false, false, false, false
		s.fallSilent()
		s.wake()
	}
	h.followers = nil
}

// reconnect lets every coordinator find the host again after a while.
func (w *world) reconnect(h *host) {
	for _, c := range w.coords {
		if s := c.fleet.sessions[h.name]; s != nil {
			w.later(w.between("reconnect "+h.name, 10*time.Millisecond, 5*time.Second), s.connect)
		}
	}
}

// close ends a coordinator's sessions.
func (f *fleet) close() {
	f.closed = true
	for _, h := range f.w.hosts {
		if s := f.sessions[h.name]; s != nil {
			s.end()
		}
	}
}

// end ends a session.
func (s *session) end() {
	s.connected, s.synced, s.told = false, false, false
	s.host.followers = slices.DeleteFunc(s.host.followers, func(o *session) bool { return o == s })
	s.wake()
}

var errLost = errors.New("no answer")
