// Package gateways keeps track of what the gateways have put into effect and how
// many connections they hold, so that draining begins after their
// acknowledgement and never after a guess.
package gateways

import (
	"context"
	"sort"
	"sync"
	"time"
)

// Lease is how long a gateway that is out of contact is waited for. After that
// it no longer holds an update up: what it still sends to an enclave that is
// stopped is lost.
const Lease = 60 * time.Second

// Tracker is what is known of the gateways.
type Tracker struct {
	now func() time.Time

	mu       sync.Mutex
	gateways map[string]*gateway
	changed  chan struct{}
}

type gateway struct {
	watches int
	seen    time.Time
	// reported: it has told its connections since it was last connected.
	reported    bool
	generations map[string]int64
	connections map[string]int64
}

// New returns a tracker that waits for the known gateways, which are those that
// were there before this coordinator started, until their lease ends.
func New(now func() time.Time, known []string) *Tracker {
	t := &Tracker{now: now, gateways: map[string]*gateway{}, changed: make(chan struct{})}
	for _, name := range known {
		t.gateways[name] = newGateway(now())
	}
	return t
}

func newGateway(seen time.Time) *gateway {
	return &gateway{seen: seen, generations: map[string]int64{}, connections: map[string]int64{}}
}

// wake tells everybody who waits; t.mu is held.
func (t *Tracker) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Connect counts a gateway as present until the returned function is called.
func (t *Tracker) Connect(name string) (disconnect func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.gateways[name]
	if g == nil {
		g = newGateway(t.now())
		t.gateways[name] = g
	}
	g.watches++
	if g.watches == 1 {
		g.reported = false
	}
	g.seen = t.now()
	t.wake()
	var once sync.Once
	return func() {
		once.Do(func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			g.watches--
			g.seen = t.now()
			t.wake()
		})
	}
}

// Ack is a route generation that is in effect at a gateway.
type Ack struct {
	Domain     string
	Generation int64
}

// Connections counts a gateway's open connections to an enclave.
type Connections struct {
	Enclave string
	Open    int64
}

// Acknowledge takes a gateway's report. Generations never go back.
func (t *Tracker) Acknowledge(name string, acks []Ack, connections []Connections) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.gateways[name]
	if g == nil {
		g = newGateway(t.now())
		t.gateways[name] = g
	}
	g.seen, g.reported = t.now(), true
	for _, a := range acks {
		g.generations[a.Domain] = max(g.generations[a.Domain], a.Generation)
	}
	for _, c := range connections {
		if c.Open == 0 {
			delete(g.connections, c.Enclave)
			continue
		}
		g.connections[c.Enclave] = c.Open
	}
	t.wake()
}

// ends returns when the gateway need not be waited for, and whether that is not
// yet; a connected one always has to be.
func (g *gateway) ends(now time.Time) (time.Time, bool) {
	if g.watches > 0 {
		return time.Time{}, true
	}
	end := g.seen.Add(Lease)
	return end, now.Before(end)
}

// look runs check under the lock on every gateway that has to be waited for. It
// returns when a lease ends next, zero if none does, and what to wait on.
func (t *Tracker) look(check func(*gateway)) (time.Time, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var next time.Time
	now := t.now()
	for _, g := range t.gateways {
		end, present := g.ends(now)
		if !present {
			continue
		}
		check(g)
		if !end.IsZero() && (next.IsZero() || end.Before(next)) {
			next = end
		}
	}
	return next, t.changed
}

// AwaitAck waits until every gateway that is present has put the generation of
// the domain, or a later one, into effect. It returns only nil or ctx's error.
func (t *Tracker) AwaitAck(ctx context.Context, domain string, generation int64) error {
	for {
		missing := 0
		next, changed := t.look(func(g *gateway) {
			if g.generations[domain] < generation {
				missing++
			}
		})
		if missing == 0 {
			return nil
		}
		if err := t.wait(ctx, next, changed); err != nil {
			return err
		}
	}
}

// Drain reports the number of connections to an enclave, at once and whenever
// it changes, until it is 0 or ctx ends. A gateway that has not reported since
// it connected counts as holding one.
func (t *Tracker) Drain(ctx context.Context, enclave string, report func(left int64)) error {
	last := int64(-1)
	for {
		var left int64
		next, changed := t.look(func(g *gateway) {
			if !g.reported {
				left++
				return
			}
			left += g.connections[enclave]
		})
		if left != last {
			report(left)
			last = left
		}
		if left == 0 {
			return nil
		}
		if err := t.wait(ctx, next, changed); err != nil {
			return err
		}
	}
}

func (t *Tracker) wait(ctx context.Context, next time.Time, changed <-chan struct{}) error {
	var timer <-chan time.Time
	if !next.IsZero() {
		tm := time.NewTimer(next.Sub(t.now()) + time.Millisecond)
		defer tm.Stop()
		timer = tm.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-timer:
	}
	return nil
}

// Names returns the gateways that are waited for, sorted.
func (t *Tracker) Names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for name, g := range t.gateways {
		if _, present := g.ends(t.now()); present {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}
