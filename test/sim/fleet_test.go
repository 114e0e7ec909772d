package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	realfleet "github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/plan"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
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
	sessions map[string]*session
	promised map[string]map[string]model.Reservation
	closed   bool
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
	known        map[string]*enclave
	facts        facts
	changed      chan struct{}
	lastEnclaves time.Time
	lastFacts    time.Time
	version      int64
	// removed: the host was forgotten.
	removed bool
}

// facts are what a host says of its room.
type facts struct {
	holders map[string]int
	free    model.Room
	offers  []int
}

func newFleet(w *world, id string, epoch int64, hosts []records.Item[model.Host]) *fleet {
	f := &fleet{
		w: w, cluster: id, epoch: epoch, sessions: map[string]*session{},
		promised: map[string]map[string]model.Reservation{}, changed: make(chan struct{}),
	}
	for _, h := range hosts {
		f.add(h.Value)
	}
	return f
}

func (f *fleet) add(h model.Host) *session {
	s := &session{fleet: f, host: f.w.host(h.Name), record: h, known: map[string]*enclave{}, changed: make(chan struct{})}
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

// Changed is for watches of hosts.
func (f *fleet) Changed() (int64, <-chan struct{}) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.version, f.changed
}

// View is what is known of a host.
func (f *fleet) View(name string) (realfleet.View, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	s := f.sessions[name]
	if s == nil {
		return realfleet.View{}, fmt.Errorf("host %s: %w", name, realfleet.ErrUnknownHost)
	}
	v := realfleet.View{Record: s.record, Status: realfleet.Unreachable, Plan: f.place(s), Version: s.version}
	if s.synced && s.told {
		v.Status = realfleet.Ready
	}
	v.Enclaves = slices.Sorted(maps.Keys(s.known))
	return v, nil
}

// InUse are the enclaves that exist or are promised on a host.
func (f *fleet) InUse(name string) []string {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	s := f.sessions[name]
	if s == nil {
		return nil
	}
	used := maps.Clone(f.promised[name])
	if used == nil {
		used = map[string]model.Reservation{}
	}
	for id, e := range s.known {
		if !e.observation(name).Gone() {
			used[id] = model.Reservation{}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// Console has nothing to show: enclaves here write none.
func (f *fleet) Console(context.Context, string, string, bool, int32) (grpc.ServerStreamingClient[agentv1.StreamConsoleResponse], error) {
	return nil, rpc.Error(codes.Unavailable, "NO_CONSOLE", "there is no console in a simulation")
}

// connect begins the watches of a host, if it can be reached.
func (s *session) connect() {
	w, h := s.fleet.w, s.host
	if s.connected || s.fleet.closed || s.removed || !h.reachable() || h.admit(s.fleet.cluster, s.fleet.epoch) != nil {
		return
	}
	s.connected, s.conn = true, s.conn+1
	h.followers = append(h.followers, s)
	conn := s.conn
	snapshot := map[string]*enclave{}
	for id, e := range h.enclaves {
		c := *e
		snapshot[id] = &c
	}
	s.lastEnclaves = inOrder(s.lastEnclaves, w.latency("watch "+h.name))
	w.later(time.Until(s.lastEnclaves), func() {
		if s.conn == conn && s.connected {
			s.collected(snapshot)
		}
	})
	s.sendFacts()
}

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
	o := model.Observation{Enclave: id, Host: s.host.name, State: model.EnclaveAbsent}
	e := s.known[id]
	if e != nil {
		if e.cluster != f.cluster {
			return
		}
		o = e.observation(s.host.name)
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
	now := h.facts()
	s.lastFacts = inOrder(s.lastFacts, w.latency("facts "+h.name))
	w.later(time.Until(s.lastFacts), func() {
		if s.conn == conn && s.connected {
			s.facts, s.told = now, true
			s.wake()
		}
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

func (h *host) gone(id string) { h.send(id, nil) }

func (h *host) send(id string, e *enclave) {
	if !h.up {
		return
	}
	for _, s := range h.followers {
		conn := s.conn
		s.lastEnclaves = inOrder(s.lastEnclaves, h.w.latency("enclave "+id))
		h.w.later(time.Until(s.lastEnclaves), func() {
			if s.conn != conn || !s.connected {
				return
			}
			if e == nil {
				delete(s.known, id)
			} else {
				s.known[id] = e
			}
			s.wake()
			s.tell(id)
		})
		s.sendFacts()
	}
}

// lost breaks every connection to the host.
func (h *host) lost() {
	for _, s := range h.followers {
		s.connected, s.synced, s.told = false, false, false
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

// call makes a call to an agent over the network: it may be lost, its answer may
// be, and it may arrive twice.
func (f *fleet) call(ctx context.Context, what, name, id string, apply func(h *host) error) error {
	w := f.w
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	w.mu.Lock()
	if f.sessions[name] == nil {
		w.mu.Unlock()
		return fmt.Errorf("host %s: %w", name, realfleet.ErrUnknownHost)
	}
	w.doom(f, "call "+what)
	there, back := w.latency(what+id), w.latency(what+id)
	mishap := -1
	if w.lossy > 0 && !w.calm {
		if n := int(w.roll("mishap "+what+id) % 100); n < w.lossy {
			mishap = n % 4
		}
	}
	if w.late && what == "create" && !w.calm {
		mishap = 3
	}
	w.mu.Unlock()
	if !sleep(ctx, there) {
		return errLost
	}
	w.mu.Lock()
	h := w.host(name)
	if mishap == 3 {
		w.later(w.between("late "+id, time.Minute, 100*time.Second), func() { f.arrive(what, id, h, apply) })
		mishap = 0
	}
	if !h.reachable() || mishap == 0 {
		w.mu.Unlock()
		<-ctx.Done()
		return errLost
	}
	w.stats.steps++
	err := h.admit(f.cluster, f.epoch)
	if err == nil {
		err = apply(h)
	}
	if mishap == 1 {
		w.later(w.between("again "+id, time.Second, 200*time.Second), func() { f.arrive(what, id, h, apply) })
	}
	w.doom(f, "answer "+what)
	w.mu.Unlock()
	if mishap == 2 {
		<-ctx.Done()
		return errLost
	}
	if !sleep(ctx, back) {
		return errLost
	}
	return err
}

// arrive carries out a call that comes late, or once more; nobody waits for the
// answer.
func (f *fleet) arrive(what, id string, h *host, apply func(h *host) error) {
	if h.reachable() && h.admit(f.cluster, f.epoch) == nil {
		f.w.say("%s of %s arrives at %s late", what, id, h.name)
		_ = apply(h)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *fleet) Profile(string) (agentv1.CvmProfile, error) {
	return agentv1.CvmProfile_CVM_PROFILE_NONE, nil
}

func (f *fleet) Prepare(ctx context.Context, name, id string, _ *agentv1.EnclaveSpec) error {
	return f.call(ctx, "prepare", name, id, func(h *host) error {
		if !f.w.calm && !f.w.tame && f.w.roll("unpreparable "+id)%40 == 0 {
			return rpc.Error(codes.NotFound, "IMAGE_MISSING", "there is no such image")
		}
		return nil
	})
}

func (f *fleet) Create(ctx context.Context, name, id string, spec *agentv1.EnclaveSpec) error {
	k := model.ContainerKey{Org: spec.GetOrg(), Name: spec.GetContainer()}
	room := model.Room{GPUs: int(spec.GetGpus()), CPUs: int(spec.GetCpus()), MemoryMiB: int64(spec.GetMemoryMib())}
	return f.call(ctx, "create", name, id, func(h *host) error { return h.create(id, k, room) })
}

func (f *fleet) Stop(ctx context.Context, name, id string, _ time.Duration, _ string) (model.Observation, error) {
	var o model.Observation
	err := f.call(ctx, "stop", name, id, func(h *host) error {
		o = h.stop(id).observation(name)
		return nil
	})
	return o, err
}

func (f *fleet) Delete(ctx context.Context, name, id string) error {
	return f.call(ctx, "delete", name, id, func(h *host) error { return h.delete(id) })
}

func (f *fleet) Observe(name, id string) (model.Observation, bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	s := f.sessions[name]
	if s == nil {
		return model.Observation{}, false
	}
	if e := s.known[id]; e != nil && s.synced {
		f.w.heard(e.observation(name))
		return e.observation(name), true
	}
	return model.Observation{Enclave: id, Host: name, State: model.EnclaveAbsent}, s.synced
}

func (f *fleet) AwaitFree(ctx context.Context, name, id string, after []string, room model.Room) error {
	f.w.mu.Lock()
	f.w.doom(f, "call awaitfree")
	s := f.sessions[name]
	f.w.mu.Unlock()
	if s == nil {
		return fmt.Errorf("host %s: %w", name, realfleet.ErrUnknownHost)
	}
	for {
		f.w.mu.Lock()
		changed := s.changed
		free := s.synced && s.told && s.gone(after) && slices.Contains(s.facts.offers, room.GPUs) &&
			s.facts.free.CPUs >= room.CPUs && s.facts.free.MemoryMiB >= room.MemoryMiB
		if free {
			f.w.doom(f, "answer awaitfree")
		}
		f.w.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) gone(ids []string) bool {
	for _, id := range ids {
		if e := s.known[id]; e != nil && !e.observation(s.host.name).Gone() || s.facts.holders[id] > 0 {
			return false
		}
	}
	return true
}

func (f *fleet) Promise(r model.Reservation) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.promised[r.Host] == nil {
		f.promised[r.Host] = map[string]model.Reservation{}
	}
	f.promised[r.Host][r.Enclave] = r
}

func (f *fleet) Unpromise(r model.Reservation) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	delete(f.promised[r.Host], r.Enclave)
}

// Plan counts as the real fleet does.
func (f *fleet) Plan() plan.Hosts {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	out := make([]plan.Host, 0, len(f.w.hosts))
	for _, h := range f.w.hosts {
		if s := f.sessions[h.name]; s != nil {
			out = append(out, f.place(s))
		}
	}
	return plan.Hosts{out}
}

func (f *fleet) place(s *session) plan.Host {
	p := plan.Host{Name: s.host.name, Counts: []int{0, 1, 2, 4, 8}}
	switch {
	case !s.synced || !s.told:
		p.Down = "unreachable"
	case s.record.Cordoned:
		p.Down = "cordoned"
	}
	p.Free = s.facts.free.Minus(f.unclaimed(s))
	for _, n := range s.facts.offers {
		if n <= p.Free.GPUs || n == 0 {
			p.Offers = append(p.Offers, n)
		}
	}
	return p
}

func (f *fleet) unclaimed(s *session) model.Room {
	var sum model.Room
	promises := f.promised[s.host.name]
	for id, r := range promises {
		if r.Room.GPUs > 0 && s.facts.holders[id] > 0 || r.Room.GPUs == 0 && s.known[id] != nil && s.known[id].claimed {
			continue
		}
		sum = sum.Plus(beyondOf(r, promises))
	}
	return sum
}

// beyondOf is what a reservation needs beyond that of the enclave it follows.
func beyondOf(r model.Reservation, all map[string]model.Reservation) model.Room {
	room := r.Room
	if a, ok := all[r.After]; ok && r.After != "" {
		d := room.Minus(a.Room)
		room = model.Room{GPUs: max(d.GPUs, 0), CPUs: max(d.CPUs, 0), MemoryMiB: max(d.MemoryMiB, 0)}
	}
	return room
}

// Names, Enclaves and GivenUp are for the reaper.
func (f *fleet) Names() []string {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return slices.Sorted(maps.Keys(f.sessions))
}

func (f *fleet) Enclaves(name string) ([]*agentv1.Enclave, bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	s := f.sessions[name]
	if s == nil {
		return nil, false
	}
	var out []*agentv1.Enclave
	for id, e := range s.known {
		if e.cluster == f.cluster {
			out = append(out, &agentv1.Enclave{
				Id: id, State: agentv1.EnclaveState(agentv1.EnclaveState_value["ENCLAVE_STATE_"+string(e.state)]), Claimed: e.claimed,
				Spec: &agentv1.EnclaveSpec{Org: e.key.Org, Container: e.key.Name},
			})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Id < out[j].Id })
	return out, s.synced
}

func (f *fleet) GivenUp(name string) []model.Reservation {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return model.WithoutRoom(f.promised[name])
}

// Attest judges an enclave by its own evidence and delivers the secrets.
func (f *fleet) Attest(ctx context.Context, _ model.ContainerKey, ref model.EnclaveRef, _ model.Revision, _ *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	var wrong bool
	err := f.call(ctx, "attest", ref.Host, ref.ID, func(h *host) error {
		e := h.enclaves[ref.ID]
		if e == nil || !e.observation(h.name).Guest() {
			return errLost
		}
		if wrong = e.fate == wrongEvidence; wrong {
			return nil
		}
		f.w.judged[ref.ID] = true
		h.secretsTaken(e)
		return nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case wrong:
		return &model.Verdict{}, &engine.Failure{Reason: "EVIDENCE_REJECTED", Text: "wrong measurement"}, nil
	}
	return &model.Verdict{Accepted: true}, nil, nil
}

// Withdraw takes a domain out of DNS.
func (f *fleet) Withdraw(ctx context.Context, domain string) error {
	f.w.mu.Lock()
	f.w.doom(f, "call withdraw")
	d := f.w.latency("dns " + domain)
	f.w.mu.Unlock()
	if !sleep(ctx, d) {
		return errLost
	}
	return nil
}
