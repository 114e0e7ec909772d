package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	realfleet "github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/plan"
	"github.com/casemate-dev/casemate/internal/rpc"
)

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
	switch {
	case s.synced && s.told:
		v.Status = realfleet.Ready
	case s.joining:
		v.Status = realfleet.Joining
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
		if !e.observation(name, "").Gone() {
			used[id] = model.Reservation{}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// Console has nothing to show: enclaves here write none.
func (f *fleet) Console(context.Context, string, string, bool, int32) (grpc.ServerStreamingClient[agentv1.StreamConsoleResponse], error) {
	return nil, rpc.Error(codes.Unavailable, "NO_CONSOLE", "there is no console in a simulation")
}

func (h *host) gone(id string) { h.send(id, nil) }

func (f *fleet) Observe(name, id string) (model.Observation, bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	s := f.sessions[name]
	if s == nil {
		return model.Observation{}, false
	}
	if e := s.known[id]; e != nil && s.synced {
		o := e.observation(name, s.machine.Incarnation)
		f.w.heard(o)
		return o, true
	}
	return model.Observation{Enclave: id, Host: name, Incarnation: s.machine.Incarnation, State: model.EnclaveAbsent}, s.synced
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
		if e := s.known[id]; e != nil && !e.observation(s.host.name, "").Gone() || s.facts.holders[id] > 0 {
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

// notHeard is what is missing of a host that has not answered since it was followed.
const notHeard = "has not answered yet"

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
	p := plan.Host{Name: s.host.name, Counts: []int{0, 1, 2, 4, 8}, Joining: s.joining && !s.record.Cordoned}
	switch {
	case s.record.Cordoned:
		p.Down = "cordoned"
	case s.joining:
		p.Down = notHeard
	case !s.synced || !s.told:
		p.Down = "unreachable"
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

// Names, Enclaves and Promises are for the reaper.
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

func (f *fleet) Promises(name string) map[string]model.Reservation {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return maps.Clone(f.promised[name])
}
