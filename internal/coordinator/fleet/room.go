package fleet

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/plan"
)

// View is what is known of one host.
type View struct {
	Record model.Host
	Status Status
	Text   string
	Facts  *agentv1.Host
	// Enclaves are those that have not ended, by id.
	Enclaves []string
	Plan     plan.Host
	Total    model.Room
	Seen     time.Time
	Version  int64
}

// Promise records that room is promised. It stands until Unpromise.
func (f *Fleet) Promise(r model.Reservation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.promises[r.Host] == nil {
		f.promises[r.Host] = map[string]model.Reservation{}
	}
	f.promises[r.Host][r.Enclave] = r
	f.places.touch(r.Host)
}

// Unpromise gives promised room back.
func (f *Fleet) Unpromise(r model.Reservation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.promises[r.Host], r.Enclave)
	if len(f.promises[r.Host]) == 0 {
		delete(f.promises, r.Host)
	}
	f.places.touch(r.Host)
}

// planHost counts what the agent reports free less what was promised to enclaves
// that have not claimed it yet. f.mu and s.mu are held.
func (f *Fleet) planHost(name string, s *session) plan.Host {
	h := plan.Host{Name: name, Down: f.down(s), Joining: s.status == Joining && !s.record.Cordoned}
	if s.facts == nil {
		return h
	}
	h.Platform = model.Platform(s.facts.GetProfile())
	h.Free = model.Room{
		GPUs:      int(s.facts.GetFreeGpus()),
		CPUs:      int(s.facts.GetCpus().GetFree()),
		MemoryMiB: int64(s.facts.GetMemoryMib().GetFree()),
	}
	h.Counts = ints(s.facts.GetGpuCounts())
	promised := unclaimed(f.promises[name], s)
	h.Free = h.Free.Minus(promised)
	for _, n := range s.facts.GetGpuOffers() {
		if int(n) <= h.Free.GPUs || n == 0 {
			h.Offers = append(h.Offers, int(n))
		}
	}
	return h
}

// unclaimed sums the promises that no claim stands for yet. A promise that takes
// over another enclave's room counts only for what it needs beyond that, for as
// long as the other is still there. s.mu is held.
func unclaimed(promises map[string]model.Reservation, s *session) model.Room {
	var sum model.Room
	if len(promises) == 0 {
		return sum
	}
	holders := map[string]bool{}
	for _, g := range s.facts.GetGpus() {
		holders[g.GetEnclaveId()] = true
	}
	for id, r := range promises {
		if claimed(id, r, s, holders) {
			continue
		}
		room := r.Room
		if after, ok := promises[r.After]; ok && r.After != "" {
			room = beyond(room, after.Room)
		}
		sum = sum.Plus(room)
	}
	return sum
}

// claimed says whether the facts that room is counted by already show the claim
// of an enclave. The word on enclaves comes by another stream and may be ahead of
// the facts, or behind them; only an enclave without GPUs can't be told apart.
func claimed(id string, r model.Reservation, s *session, holders map[string]bool) bool {
	if r.Room.GPUs > 0 {
		return holders[id]
	}
	return s.enclaves[id] != nil && s.enclaves[id].GetClaimed()
}

func beyond(a, b model.Room) model.Room {
	d := a.Minus(b)
	return model.Room{GPUs: max(d.GPUs, 0), CPUs: max(d.CPUs, 0), MemoryMiB: max(d.MemoryMiB, 0)}
}

// down says why nothing can be placed on a host; s.mu is held.
func (f *Fleet) down(s *session) string {
	switch {
	case s.record.Cordoned:
		return "cordoned"
	case s.status == Joining:
		return "has not answered yet"
	case s.status != Ready:
		return "unreachable"
	case !slices.Contains(f.cfg.Profiles, s.facts.GetProfile()):
		return fmt.Sprintf("runs enclaves as %s, which the coordinator's policy does not permit", s.facts.GetProfile())
	}
	return ""
}

func ints(in []uint32) []int {
	out := make([]int, len(in))
	for i, n := range in {
		out[i] = int(n)
	}
	return out
}

// Views returns what is known of every host, by name.
func (f *Fleet) Views() []View {
	f.mu.RLock()
	defer f.mu.RUnlock()
	views := make([]View, 0, len(f.hosts))
	for name, s := range f.hosts {
		views = append(views, f.view(name, s))
	}
	slices.SortFunc(views, func(a, b View) int {
		if a.Record.Name < b.Record.Name {
			return -1
		}
		return 1
	})
	return views
}

// View returns what is known of one host.
func (f *Fleet) View(name string) (View, error) {
	s, err := f.session(name)
	if err != nil {
		return View{}, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.view(name, s), nil
}

func (f *Fleet) view(name string, s *session) View {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := View{
		Record: s.record, Status: s.status, Text: s.text, Facts: s.facts,
		Plan: f.planHost(name, s), Seen: s.seen, Version: s.version,
		Total: model.Room{
			GPUs:      len(s.facts.GetGpus()),
			CPUs:      int(s.facts.GetCpus().GetTotal()),
			MemoryMiB: int64(s.facts.GetMemoryMib().GetTotal()),
		},
	}
	if v.Seen.IsZero() {
		v.Seen = s.machine.Silent // seen by a coordinator before
	}
	if s.status == Ready {
		v.Seen = f.cfg.Now() // its streams are open: connections that are dead are noticed within seconds
	}
	for id, e := range s.enclaves {
		if !ended(e) {
			v.Enclaves = append(v.Enclaves, id)
		}
	}
	sort.Strings(v.Enclaves)
	return v
}

// InUse returns the enclaves that exist or are promised on a host.
func (f *Fleet) InUse(host string) []string {
	s, err := f.session(host)
	if err != nil {
		return nil
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	used := map[string]bool{}
	for id := range f.promises[host] {
		used[id] = true
	}
	for id, e := range s.enclaves {
		if !ended(e) {
			used[id] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}
