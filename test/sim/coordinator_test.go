package sim

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/casemate-dev/casemate/internal/coordinator/api"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	realfleet "github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/gateways"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/coordinator/reaper"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/coordinator/runner"
	"github.com/casemate-dev/casemate/internal/coordinator/vault"
)

// coordinator is one life of the coordinator's process.
type coordinator struct {
	w       *world
	cancel  context.CancelFunc
	ctx     context.Context
	rec     *records.Records
	run     *runner.Runner
	fleet   *fleet
	tracker *gateways.Tracker
	planner *planner.Planner
	conn    *conn
	epoch   int64
	dead    bool
	reaped  chan struct{}
	// doomed counts the points until it crashes; 0 for not at all.
	doomed int
	// at is the kind of point at which it does; empty for any.
	at string
}

// limits are the engine's, with a hold that does not fill the run with waiting.
func limits() engine.Limits {
	l := engine.DefaultLimits()
	l.Hold = 2 * time.Hour
	return l
}

// dooms counts a point at which the process may die, and says whether it did.
func (c *coordinator) dooms(point string) bool { return c.doomsAt(point, false) }

// doomsAt is dooms for a point that may be known by a better name.
func (c *coordinator) doomsAt(point string, named bool) bool {
	if c.dead {
		return true
	}
	if c.w.keep && !named && c.hits(point) {
		c.w.say("the coordinator crashes at %s", c.w.crashAt)
		c.die()
		return true
	}
	if c.doomed == 0 || c.at != "" && c.at != point || c.w.calm {
		return false
	}
	if c.doomed--; c.doomed > 0 {
		return false
	}
	c.w.say("the coordinator crashes %s", point)
	c.die()
	return true
}

// hits notes a point by what it is and by the step that the update is in, and
// says whether it is the one at which this run crashes.
func (c *coordinator) hits(point string) bool {
	w := c.w
	s := w.view.containers["acme/api"]
	step := "none"
	if s != nil && s.container != nil {
		if u := s.state(w.view).Update; u != nil {
			step = string(u.Step)
		}
		if t := s.container.Teardown; t != nil {
			step = "teardown " + string(t.Step)
		}
	}
	return w.reach(point + " in " + step)
}

// reach notes a point.
func (w *world) reach(label string) bool {
	if !slices.Contains(w.points, label) {
		w.points = append(w.points, label)
	}
	if label != w.crashAt {
		return false
	}
	w.crashAt = "done: " + label
	return true
}

// doom counts a call to a host or gateway as such a point.
func (w *world) doom(f *fleet, point string) {
	for _, c := range w.coords {
		if c.fleet == f {
			c.dooms(point)
		}
	}
}

// die ends the process; what it had under way is over. mu is held.
func (c *coordinator) die() {
	if c.dead {
		return
	}
	c.dead = true
	c.w.stats.crashes++
	c.cancel()
	c.fleet.close()
	for _, g := range c.w.gates {
		if g.tracker == c.tracker {
			g.lost()
		}
	}
	if c == c.w.leader() && c.w.downUntil.IsZero() {
		c.w.downUntil = time.Now().Add(c.w.between("down", 10*time.Millisecond, 90*time.Second))
	}
}

// steady makes the waits between tries the same in every run of a seed.
type steady struct{ next time.Duration }

func (s *steady) NextBackOff() time.Duration {
	d := s.next
	s.next = min(2*s.next, 5*time.Second)
	return d
}

func (s *steady) Reset() { s.next = 100 * time.Millisecond }

// startCoordinator starts one over the store; mu is not held. It reports whether
// that succeeded: the disk may fail.
func (w *world) startCoordinator() bool {
	c := &coordinator{w: w, reaped: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	h := &handle{disk: w.disk, w: w, c: c}
	if !c.build(h) {
		c.cancel()
		return false
	}
	w.mu.Lock()
	w.coords = append(w.coords, c)
	w.downUntil = time.Time{}
	w.say("coordinator of epoch %d starts", c.epoch)
	for _, host := range w.hosts {
		if s := c.fleet.sessions[host.name]; s != nil {
			s.fallSilent()
			w.later(w.between("reconnect "+host.name, 10*time.Millisecond, 2*time.Second), s.connect)
		}
	}
	for _, g := range w.gates {
		g.lost()
	}
	w.reconnectGateways()
	w.mu.Unlock()
	work, err := c.run.Start(c.ctx)
	if err == nil {
		err = c.run.LostBefore(work, c.fleet.Names())
	}
	if err != nil {
		w.mu.Lock()
		c.die()
		w.mu.Unlock()
	}
	go c.reap(work)
	return true
}

// build wires the real parts.
func (c *coordinator) build(h *handle) bool {
	w := c.w
	var err error
	if c.rec, err = records.Open(c.ctx, h, func() string { return cluster }); err != nil {
		return false
	}
	c.epoch = c.rec.Epoch
	hosts, machines, err := c.rec.Followed(c.ctx)
	if err != nil {
		return false
	}
	w.mu.Lock()
	c.fleet = newFleet(w, c.rec.ClusterID, c.epoch, hosts, machines)
	c.fleet.note = func(host string, m model.Machine) error { return c.rec.NoteMachine(c.ctx, host, m) }
	var known []string
	for _, g := range w.gates {
		known = append(known, g.name)
	}
	w.mu.Unlock()
	c.tracker = gateways.New(time.Now, known)
	c.planner = planner.New(c.rec, tags{}, releases.New(releases.Config{AllowUnsigned: true}), c.fleet, w.now)
	c.run, err = runner.New(runner.Config{
		Log: slog.New(slog.DiscardHandler), Records: c.rec, Engine: engine.Engine{Limits: limits(), Restored: c.rec.Restored},
		Agents: c.fleet, Gateways: doomedGateways{c.tracker, c}, Attestor: c.fleet, Judge: c.fleet, CloseRefused: true, DNS: c.fleet, Replanner: c.planner,
		Permanent: realfleet.Permanent, Now: w.now,
		Backoff: func() backoff.BackOff { return &steady{100 * time.Millisecond} },
	})
	if err != nil {
		panic(err)
	}
	c.fleet.sink = c.run.Observed
	services, err := api.New(c.ctx, api.Config{
		Log: slog.New(slog.DiscardHandler), Records: c.rec, Runner: c.run, Planner: c.planner, Fleet: c.fleet,
		Gateways: c.tracker, Vault: secrets(), BaseDomain: "example", HoldTimeout: time.Minute, Now: w.now, NewUID: w.newUID,
	})
	if err != nil {
		panic(err)
	}
	c.conn = w.newConn(c.ctx, services)
	return c.run.Promises(c.ctx) == nil
}

// secrets is one vault for all: the key is the installation's, not the process's.
var secrets = sync.OnceValue(func() *vault.Vault {
	v, err := vault.New([]byte(strings.Repeat("k", vault.KeySize)))
	if err != nil {
		panic(err)
	}
	return v
})

// newUID makes the uid of a container.
func (w *world) newUID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uids++
	return fmt.Sprintf("c%d", w.uids)
}

func (c *coordinator) reap(work context.Context) {
	defer close(c.reaped)
	r, err := reaper.New(reaper.Config{
		Log: slog.New(slog.DiscardHandler), Records: c.rec, Hosts: c.fleet, Now: c.w.now,
		Every: 2 * time.Minute, Grace: c.fleet.grace(), Keep: time.Hour, StopGrace: time.Minute,
	})
	if err != nil {
		panic(err)
	}
	_ = r.Run(work)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.die()
}

// bury waits until the dead have ended; mu is not held.
func (w *world) bury() {
	w.mu.Lock()
	var dead []*coordinator
	for _, c := range w.coords {
		if c.dead {
			dead = append(dead, c)
		}
	}
	w.mu.Unlock()
	for _, c := range dead {
		c.run.Wait()
		<-c.reaped
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var live []*coordinator
	for _, c := range w.coords {
		if !c.dead {
			live = append(live, c)
		}
	}
	w.coords = live
}

// doomedGateways is the real tracker; calls of it are points to crash at.
type doomedGateways struct {
	*gateways.Tracker
	c *coordinator
}

func (d doomedGateways) AwaitAck(ctx context.Context, domain string, generation int64) error {
	d.c.w.mu.Lock()
	d.c.dooms("call awaitack")
	d.c.w.mu.Unlock()
	err := d.Tracker.AwaitAck(ctx, domain, generation)
	d.c.w.mu.Lock()
	d.c.dooms("answer awaitack")
	d.c.w.mu.Unlock()
	return err
}

func (d doomedGateways) Drain(ctx context.Context, enclave string, report func(int64)) error {
	d.c.w.mu.Lock()
	d.c.dooms("call drain")
	d.c.w.mu.Unlock()
	return d.Tracker.Drain(ctx, enclave, report)
}

// state is the engine's state of a container as it is committed.
func (s *seen) state(v *view) engine.State {
	route := v.routes[s.container.Spec.Domain]
	st := engine.State{Container: s.container, Route: &route, Reservations: s.reservations}
	if s.update != nil && s.container.Update == s.update.ID {
		st.Update = s.update
	}
	return st
}
