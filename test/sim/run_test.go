package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
	"github.com/casemate-dev/casemate/internal/store/sqlite"
)

// plot is one run: its seed decides latencies and fates, its actions the rest.
type plot struct {
	seed    uint64
	actions []action
	sqlite  bool
	verbose bool
}

// outcome is what came of it.
type outcome struct {
	stats     stats
	violation *violation
	trace     []string
	// methods are those of the API, calls those that were made.
	methods, calls map[string]bool
}

const actionsPerRun = 80

// keptKinds is the last of the kinds that every run has: waiting, deploying and
// updating.
const keptKinds = 2

// generate makes the run of a seed.
func generate(seed uint64) plot {
	rng := rand.New(rand.NewPCG(seed, 1))
	// Each run leaves out a part of what can happen, so that what is left gets
	// further, and has more than usual of some of it.
	weights, total := make([]int, len(kinds)), 0
	for i, k := range kinds {
		if i <= keptKinds || rng.IntN(5) > 1 {
			weights[i] = k.weight
		}
		if i > keptKinds && rng.IntN(12) == 0 {
			weights[i] *= 6
		}
		total += weights[i]
	}
	p := plot{seed: seed}
	for range actionsPerRun {
		n := rng.IntN(total)
		kind := 0
		for n >= weights[kind] {
			n -= weights[kind]
			kind++
		}
		p.actions = append(p.actions, action{uint8(kind), uint8(rng.Uint32()), uint8(rng.Uint32()), uint8(rng.Uint32())})
	}
	return p
}

// passes are the times that go by after an action.
var passes = []time.Duration{
	0, 0, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 2 * time.Second, 7 * time.Second,
	7 * time.Second, 20 * time.Second, 20 * time.Second, 45 * time.Second, 45 * time.Second, 90 * time.Second, 5 * time.Minute, 20 * time.Minute,
}

func (a action) pass() time.Duration {
	d := passes[int(a.Pass)%len(passes)]
	return d + d*time.Duration(a.Pass/16)/16
}

// play carries a run out.
func play(t *testing.T, p plot) outcome {
	t.Helper()
	var out outcome
	dir := ""
	if p.sqlite {
		dir = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		var err error
		if out, err = playIn(p, dir); err != nil {
			t.Fatal(err)
		}
	})
	return out
}

// playIn carries a run out in the bubble that it is called in.
func playIn(p plot, dir string) (outcome, error) {
	path := ""
	if dir != "" {
		path = filepath.Join(dir, "store.db")
	}
	s, err := open(path)
	if err != nil {
		return outcome{}, err
	}
	w := newWorld(p, s)
	w.dir = dir
	w.playAll(p.actions)
	w.end()
	w.stats.runs++
	return w.outcome(), w.disk.Close()
}

func (w *world) outcome() outcome {
	return outcome{w.stats, w.violation, w.trace, w.methods, w.calls}
}

// open opens the store at a path, or one in memory.
func open(path string) (store.Store, error) {
	if path == "" {
		return memory.New(memory.Config{}), nil
	}
	return sqlite.Open(context.Background(), sqlite.Config{Path: path})
}

func newWorld(p plot, s store.Store) *world {
	w := &world{
		seed: p.seed, verbose: p.verbose, began: time.Now(), disk: &disk{Store: s}, view: newView(),
		methods: map[string]bool{}, calls: map[string]bool{}, decoded: map[string]written{},
		counts: map[string]uint64{}, judged: map[string]bool{}, healthy: map[string]bool{},
		forced: map[string]bool{}, refused: map[string]bool{}, requests: map[string]promised{},
		silences: map[string]silenceOf{}, distrusted: map[string]bool{}, floors: map[string]int64{},
	}
	for i := range 1 + int(mix(p.seed)%3) {
		w.hosts = append(w.hosts, newHost(w, fmt.Sprintf("h%d", i+1)))
	}
	if mix(p.seed+1)%3 == 0 {
		w.readers = newReaders()
	}
	w.gates = []*gateway{newGateway(w, "g1"), newGateway(w, "g2")}
	return w
}

// found starts a coordinator, and tells it of the hosts and a secret.
func (w *world) found() {
	w.startCoordinator()
	w.mu.Lock()
	w.submit(w.keeps(0))
	for _, h := range w.hosts {
		w.submit(w.adds(h.name))
	}
	w.mu.Unlock()
	synctest.Wait()
}

func (w *world) playAll(actions []action) {
	w.found()
	w.watch = w.watchFromHere()
	w.pass(10 * time.Second)
	for _, a := range actions {
		w.mu.Lock()
		w.stats.steps++
		kinds[int(a.Kind)%len(kinds)].do(w, a)
		w.mu.Unlock()
		if w.pass(a.pass()) {
			w.watch.close()
			return
		}
	}
	w.settle()
	w.watch.compare(w)
	w.compareReaders()
}

// pass lets time go by; it reports whether an invariant was violated.
func (w *world) pass(d time.Duration) bool {
	time.Sleep(d)
	synctest.Wait()
	w.bury()
	w.mu.Lock()
	down := w.leader() == nil && w.downUntil.IsZero()
	start := down || !w.downUntil.IsZero() && !time.Now().Before(w.downUntil)
	w.mu.Unlock()
	if start {
		if w.putting != nil {
			w.putBack()
		}
		if w.startCoordinator() {
			synctest.Wait()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read()
	w.silencesShow()
	for _, c := range w.coords {
		if w.calm && c != w.leader() {
			c.die()
		}
	}
	return w.violation != nil
}

// settle ends every fault and waits until everything has come to rest.
func (w *world) settle() {
	for w.putting != nil { // an operator ends what they have begun
		w.pass(5 * time.Minute)
	}
	w.mu.Lock()
	w.say("faults end")
	w.calm, w.lossy, w.slow, w.disk.full, w.disk.tight = true, 0, 0, false, false
	for _, h := range w.hosts {
		h.confess()
		h.linked = true
		if h.up {
			w.reconnect(h)
		}
		h.restart()
		h.heal()
	}
	for _, g := range w.gates {
		g.up, g.linked = true, true
	}
	w.reconnectGateways()
	w.mu.Unlock()
	calm := time.Now()
	w.mu.Lock()
	w.calmSince = calm
	w.mu.Unlock()
	why := ""
	// Whoever is to start a coordinator does so, and operators put the hosts back
	// into service.
	for range 3 {
		w.pass(time.Minute)
	}
	w.mu.Lock()
	for _, h := range w.hosts {
		if _, known := w.view.hosts[h.name]; !known {
			w.submit(w.adds(h.name))
		}
		w.submit(w.cordons(h.name, false))
	}
	w.mu.Unlock()
	for time.Since(calm) < 10*time.Hour {
		if w.pass(10 * time.Minute) {
			return
		}
		if why = w.restless(); why == "" {
			w.pass(30 * time.Minute)
			if why = w.restless(); why == "" {
				return
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violate("I8", "after 10 hours without faults: %s", why)
}

// restless says why things are not at rest: I8, and the second half of I6.
func (w *world) restless() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.coords) != 1 || w.coords[0].dead {
		return fmt.Sprintf("%d coordinators run", len(w.coords))
	}
	for _, h := range w.hosts {
		if r, known := w.view.hosts[h.name]; !known || r.Cordoned {
			return fmt.Sprintf("%s is not in service: known %v, cordoned %v", h.name, known, r.Cordoned)
		}
	}
	names := w.view.names()
	sort.Strings(names)
	wanted := map[string]bool{}
	for _, name := range names {
		s := w.view.containers[name]
		if why := w.containerRests(s); why != "" {
			return why
		}
		if a := s.container.Active; a != nil {
			wanted[a.Host+"/"+a.ID] = true
		}
	}
	for _, h := range w.hosts {
		if why := w.hostRests(h, wanted); why != "" {
			return why
		}
	}
	return ""
}

func (w *world) containerRests(s *seen) string {
	c := s.container
	r := w.view.routes[c.Spec.Domain]
	switch {
	case c.Update != "":
		return fmt.Sprintf("update %s is in %s until %s", c.Update, s.update.Step, s.update.Deadline)
	case c.Teardown != nil:
		return fmt.Sprintf("the teardown of %s is in %s", s.key, c.Teardown.Step)
	case c.Silent != nil:
		return fmt.Sprintf("%s says that %s does not answer", s.key, c.Silent.Host)
	case len(c.Leftovers) > 0:
		return fmt.Sprintf("%s has the leftover %s", s.key, c.Leftovers[0].ID)
	case c.Active == nil && len(s.reservations) > 0:
		return fmt.Sprintf("nothing of %s runs, and it has reservations %v", s.key, s.reservations)
	case c.Active == nil && r.State != model.RouteClosed:
		return fmt.Sprintf("nothing of %s runs, and its route is %s", s.key, r.State)
	case c.Active == nil && c.Status != model.Failed && c.Status != model.Stopped:
		return fmt.Sprintf("nothing of %s runs, and it is %s", s.key, c.Status)
	case c.Active == nil:
		return ""
	case w.distrusted[c.Active.ID]:
		return distrustedRests(c, r)
	case c.Status != model.Running:
		return fmt.Sprintf("%s is %s, and %s serves", s.key, c.Status, c.Active.ID)
	case r.State != model.RouteServing || r.Enclave != c.Active.ID:
		return fmt.Sprintf("%s serves, and its route is %s to %s", c.Active.ID, r.State, r.Enclave)
	case len(s.reservations) != 1 || s.reservations[c.Active.ID].Host != c.Active.Host:
		return fmt.Sprintf("%s serves, and the reservations of %s are %v", c.Active.ID, s.key, s.reservations)
	}
	for _, g := range w.gates {
		if have := g.routes[r.Domain]; have.Generation != r.Generation {
			return fmt.Sprintf("gateway %s has generation %d of %s, %s to %s, want %d", g.name, have.Generation, r.Domain, have.State, have.Enclave, r.Generation)
		}
	}
	return ""
}

func (w *world) hostRests(h *host, wanted map[string]bool) string {
	f := w.coords[0].fleet
	for _, e := range h.sorted() {
		id := h.name + "/" + e.id
		switch {
		case e.foreign && e.stopped:
			return e.id + ", which is of another cluster, was stopped"
		case e.foreign:
		case e.runs() && !wanted[id]:
			return fmt.Sprintf("nobody wants %s on %s, which is %s", e.id, h.name, e.state)
		case e.ended() && e.claimed:
			return fmt.Sprintf("%s on %s has ended and still holds its claim", e.id, h.name)
		}
		if wanted[id] && e.ended() {
			return fmt.Sprintf("%s is to serve, and it has ended", e.id)
		}
		delete(wanted, id)
	}
	for id := range f.promised[h.name] {
		if _, ok := w.view.reservations[id]; !ok {
			return fmt.Sprintf("%s is promised room on %s, and has no reservation", id, h.name)
		}
	}
	for id, r := range w.view.reservations {
		if _, ok := f.promised[r.Host][id]; !ok {
			return fmt.Sprintf("%s has a reservation on %s, and the planner does not know", id, r.Host)
		}
	}
	for id := range wanted {
		if len(id) > len(h.name) && id[:len(h.name)+1] == h.name+"/" {
			return id + " is to serve, and does not exist"
		}
	}
	return ""
}

// end stops every coordinator.
func (w *world) end() {
	w.mu.Lock()
	for _, c := range w.coords {
		if err := c.rec.CheckShared(context.Background()); err != nil {
			w.violate("shared", "%v", err)
		}
		c.die()
	}
	w.mu.Unlock()
	w.bury()
	synctest.Wait()
}
