package gateway

import (
	"sync"
	"sync/atomic"
)

// entry is one route in force, with what belongs to it alone: the gate through
// which its connections are dialled and their number.
type entry struct {
	route Route
	// enclave counts the connections of all entries of the same enclave.
	enclave *tally
	// open is the number of connections joined through this entry.
	open atomic.Int64
	// gate has the number of dials under way, and closedBit once another entry
	// has taken this one's place.
	gate atomic.Int64
	// replaced is closed with the gate: it wakes connections that are held.
	replaced chan struct{}
	// quiet is closed, once, when the gate is closed and no dial is under way.
	quiet     chan struct{}
	quietOnce sync.Once
}

const closedBit = int64(1) << 62

func newEntry(r Route, enclave *tally) *entry {
	return &entry{route: r, enclave: enclave, replaced: make(chan struct{}), quiet: make(chan struct{})}
}

// enter registers a dial. It is false if the entry has been replaced: then the
// table already has another, or none.
func (e *entry) enter() bool {
	if e.gate.Add(1) >= closedBit {
		e.leave()
		return false
	}
	return true
}

// leave ends a dial that enter has registered.
func (e *entry) leave() {
	if e.gate.Add(-1) == closedBit {
		// The last dial sees this, and so does each later one that is turned away.
		e.markQuiet()
	}
}

// shut closes the gate: from here on enter fails. It is called once, by the
// owner of the table, after the table without this entry is in force.
func (e *entry) shut() {
	n := e.gate.Add(closedBit)
	close(e.replaced)
	if n == closedBit {
		e.markQuiet()
	}
}

func (e *entry) markQuiet() { e.quietOnce.Do(func() { close(e.quiet) }) }

// isQuiet tells whether the entry is replaced and no dial through it is under
// way. It never becomes false again.
func (e *entry) isQuiet() bool {
	select {
	case <-e.quiet:
		return true
	default:
		return false
	}
}

// current tells whether the entry has not been replaced.
func (e *entry) current() bool { return e.gate.Load() < closedBit }

// joined and parted count a connection in and out.
func (e *entry) joined() {
	e.open.Add(1)
	e.enclave.open.Add(1)
}

func (e *entry) parted() {
	e.open.Add(-1)
	left := e.enclave.open.Add(-1)
	if e.enclave.draining.Load() {
		e.enclave.register.changed.signal()
		if left == 0 {
			e.enclave.register.emptied.signal()
		}
	}
}
