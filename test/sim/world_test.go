package sim

import (
	"fmt"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
)

// world is everything outside the coordinator: hosts, gateways, the network, the
// disk and the users. Everything in it is guarded by mu.
type world struct {
	mu   sync.Mutex
	seed uint64
	// offset is how far the coordinator's clock is off.
	offset time.Duration
	jumps  int
	hosts  []*host
	gates  []*gateway
	disk   *disk
	view   *view
	// dir is where a store that has files keeps them. watch follows the store from
	// the beginning, or from the last restore, on.
	dir   string
	watch *watching
	// backup opens a copy that was made of the store; putting is that which is
	// about to take its place.
	backup, putting func() (store.Store, error)
	backupAt        time.Time
	// restored: this store was restored at some time. floors is what the routes of the
	// time that was lost had come to.
	restored bool
	floors   map[string]int64
	// quiet are the containers that were just running in the backup, and of which
	// nobody has wanted anything since it was restored.
	quiet map[model.ContainerKey]bool
	// coords are the coordinators that run; the last one leads.
	coords []*coordinator
	// downUntil is when somebody starts a coordinator again.
	downUntil time.Time
	counts    map[string]uint64
	// judged are the enclaves whose evidence the coordinator accepted, healthy
	// those of which it ever heard that they are.
	judged  map[string]bool
	healthy map[string]bool
	// distrusted are those that lost their route because their evidence was refused
	// when it was judged again.
	distrusted map[string]bool
	// lossy is the percentage of calls that are lost, answered to nobody, or made
	// twice; slow stretches every latency.
	lossy, slow int
	// calm: no more faults are to happen.
	calm bool
	// tame: enclaves do as they should, or as destiny says.
	tame    bool
	destiny func(id string) fate
	// slowStop are the enclaves that take longer to stop than they are given.
	slowStop func(id string) bool
	// late: the order to create an enclave takes a minute.
	late bool
	// deaf: no answer to an order to create comes back.
	deaf bool
	// points are the places at which a coordinator may crash, in the order in which
	// they were come to, if they are kept; at crashAt it does.
	points    []string
	keep      bool
	crashAt   string
	calmSince time.Time
	// forced are the steps that a person ended, by update.
	forced map[string]bool
	// refused are the enclaves whose claim an agent has refused: they are given up
	// without a proof, and the reaper's.
	refused  map[string]bool
	requests map[string]promised
	// silences are the enclaves of whose host it was last told that it does not
	// answer.
	silences map[string]silenceOf
	decoded  map[string]written
	// methods are those of the API, calls those that were made.
	methods, calls map[string]bool
	readers        []*reader
	last           *request
	// serial and uids number requests and containers.
	serial, uids int

	stats     stats
	violation *violation
	verbose   bool
	began     time.Time
	trace     []string
}

// stats is what a run has done.
type stats struct{ steps, updates, ended, crashes, runs int64 }

func (s *stats) add(o stats) {
	s.steps += o.steps
	s.updates += o.updates
	s.ended += o.ended
	s.crashes += o.crashes
	s.runs += o.runs
}

// violation is an invariant that did not hold.
type violation struct{ invariant, text string }

// violate notes the first violation; mu is held.
func (w *world) violate(invariant, format string, args ...any) {
	if w.violation == nil {
		w.violation = &violation{invariant, fmt.Sprintf(format, args...)}
		w.say("VIOLATION %s: %s", invariant, w.violation.text)
	}
}

// say adds to the history in words; mu is held.
func (w *world) say(format string, args ...any) {
	if w.verbose {
		w.trace = append(w.trace, fmt.Sprintf("%10.3fs  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...)))
	}
}

// roll returns a number that depends on the run's seed, on what it is for, and on
// how often it was asked for that: not on the order in which goroutines run.
func (w *world) roll(what string) uint64 {
	w.counts[what]++
	return mix(w.seed ^ hash(what) ^ w.counts[what]*0x9e3779b97f4a7c15)
}

// hash is FNV-1a: the same in every process, so that a seed means the same run.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// between returns a duration in [lo, hi) for a purpose, in odd nanoseconds so
// that hardly two things happen at once.
func (w *world) between(what string, lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.roll(what)%uint64(hi-lo))
}

// latency is how long a message takes.
func (w *world) latency(what string) time.Duration {
	d := w.between(what, time.Millisecond, 40*time.Millisecond)
	return d * time.Duration(1+w.slow)
}

// later runs f under the lock after a while: that is a step.
func (w *world) later(d time.Duration, f func()) {
	w.unstepped(d, func() {
		w.stats.steps++
		f()
	})
}

// unstepped is later for what hardly ever changes anything.
func (w *world) unstepped(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	})
}

func (w *world) host(name string) *host {
	for _, h := range w.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

// leader is the coordinator that leads, nil if none runs.
func (w *world) leader() *coordinator {
	if len(w.coords) == 0 {
		return nil
	}
	return w.coords[len(w.coords)-1]
}

// now is the coordinator's clock.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock()
}

// clock is now for those who hold mu.
func (w *world) clock() time.Time { return time.Now().Add(w.offset) }
