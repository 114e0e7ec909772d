package runner

import (
	"context"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// turnsAtOnce bounds how many containers are worked on at a time: more than can
// wait for the store's disk together, and far fewer than there are. When a
// coordinator starts, every host tells of every enclave at once; a goroutine for
// each would cost more than what they have to do.
const turnsAtOnce = 128

// fairness is how often an agent's word goes before everything else.
const fairness = 4

// keptIdle is how many workers wait for the next container when there is none: what
// there is to do comes a little at a time, and a new goroutine's stack has to grow
// several times before it holds a commit.
const keptIdle = 8

// turns are the containers that have something to do, and who does it. They are
// guarded by Runner.mu.
type turns struct {
	// first are containers with requests, results and deadlines; later those of
	// which an agent has told something.
	first, later []turn
	workers      int
	taken        int
	// idle counts the workers that wait until they are hired again; hired has room
	// for all of them.
	idle  int
	hired chan struct{}
}

type turn struct {
	key   model.ContainerKey
	actor *actor
}

func (t *turns) empty() bool { return len(t.first)+len(t.later) == 0 }

// next takes the container whose turn it is; there is one.
func (t *turns) next() turn {
	t.taken++
	from := &t.first
	if len(t.first) == 0 || len(t.later) > 0 && t.taken%fairness == 0 {
		from = &t.later
	}
	n := (*from)[0]
	*from = (*from)[1:]
	return n
}

// hire has one more worker work if one is missing; r.mu is held.
func (r *Runner) hire() {
	if r.turns.empty() || r.turns.workers >= turnsAtOnce {
		return
	}
	r.turns.workers++
	if r.turns.idle > 0 {
		r.turns.idle--
		r.turns.hired <- struct{}{}
		return
	}
	r.work.Add(1)
	go func(ctx context.Context) {
		defer r.work.Done()
		for hired := true; hired; hired = r.hiredAgain(ctx) {
			r.workOff(ctx)
		}
	}(r.ctx)
}

// workOff drains one container after the other until nothing is left to do.
func (r *Runner) workOff(ctx context.Context) {
	for {
		r.mu.Lock()
		if r.turns.empty() || r.turns.workers > turnsAtOnce {
			r.turns.workers--
			r.mu.Unlock()
			return
		}
		n := r.turns.next()
		r.mu.Unlock()
		r.drain(ctx, n.key, n.actor)
	}
}

// hiredAgain waits until there is something to do; false if there are enough who
// wait, or ctx has ended.
func (r *Runner) hiredAgain(ctx context.Context) bool {
	r.mu.Lock()
	if r.turns.idle == keptIdle {
		r.mu.Unlock()
		return false
	}
	r.turns.idle++
	r.mu.Unlock()
	select {
	case <-r.turns.hired:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause lets another worker take this one's place while it waits, so that
// containers whose records can't be read or written hold no others up.
func (r *Runner) pause() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns.workers--
	r.hire()
}

// goOn ends a pause.
func (r *Runner) goOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns.workers++
}
