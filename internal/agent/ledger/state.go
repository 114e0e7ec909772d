package ledger

import (
	"maps"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Capacity is an amount of the host's CPUs and memory.
type Capacity struct {
	CPUs      int
	MemoryMiB int64
}

// state is the ledger's contents. A state is never changed once it is in
// force: a change is made on a copy, written, and then takes its place.
type state struct {
	claims     map[string]Claim
	quarantine map[gpu.BDF]quarantine
}

func newState() state {
	return state{claims: map[string]Claim{}, quarantine: map[gpu.BDF]quarantine{}}
}

// clone copies the state; claims share their card lists, which nobody changes.
func (s state) clone() state {
	return state{claims: maps.Clone(s.claims), quarantine: maps.Clone(s.quarantine)}
}

// held says who holds which card.
func (s state) held() gpu.Held {
	held := gpu.Held{}
	for id, c := range s.claims {
		for _, card := range c.Cards() {
			held[card] = id
		}
	}
	return held
}

// quarantined says which cards must not be given out, and why.
func (s state) quarantined() map[gpu.BDF]string {
	cards := map[gpu.BDF]string{}
	for card, q := range s.quarantine {
		cards[card] = q.Why
	}
	return cards
}

// free returns what is left of a capacity, never less than nothing.
func (s state) free(of Capacity) Capacity {
	for _, c := range s.claims {
		of.CPUs -= c.CPUs
		of.MemoryMiB -= c.MemoryMiB
	}
	return Capacity{max(of.CPUs, 0), max(of.MemoryMiB, 0)}
}
