package gpu

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errStuck says that a call into a library did not return in time, or that an
// earlier one still hasn't.
var errStuck = errors.New("the library does not return from a call")

// guard runs calls that may never return, one at a time, each in a goroutine
// that is abandoned after the deadline. As the next call waits for the last
// one, at most one goroutine is ever stuck.
type guard struct {
	deadline time.Duration
	now      func() time.Time
	turn     chan struct{} // holds one token while no call runs

	mu      sync.Mutex
	running bool
	since   time.Time // when the running call was given up; zero if none was
}

func newGuard(deadline time.Duration, now func() time.Time) *guard {
	g := &guard{deadline: deadline, now: now, turn: make(chan struct{}, 1)}
	g.turn <- struct{}{}
	return g
}

// stuckSince returns when a call that still runs was given up.
func (g *guard) stuckSince() (time.Time, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.since, !g.since.IsZero()
}

// begin and end frame a call.
func (g *guard) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = true
}

func (g *guard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running, g.since = false, time.Time{}
}

// giveUp records that a call which still runs has had its time.
func (g *guard) giveUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running && g.since.IsZero() {
		g.since = g.now()
	}
}

type outcome[T any] struct {
	value T
	err   error
}

// guarded runs fn under g. The deadline covers the wait for the turn too. A
// panic in fn becomes an error.
func guarded[T any](ctx context.Context, g *guard, fn func() (T, error)) (T, error) {
	var none T
	if _, stuck := g.stuckSince(); stuck {
		return none, errStuck
	}
	timer := time.NewTimer(g.deadline)
	defer timer.Stop()
	select {
	case <-g.turn:
	case <-timer.C:
		g.giveUp()
		return none, errStuck
	case <-ctx.Done():
		return none, ctx.Err()
	}
	g.begin()
	done := make(chan outcome[T], 1)
	go func() {
		done <- protect(fn)
		g.end()
		g.turn <- struct{}{}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-timer.C:
		g.giveUp()
		return none, errStuck
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// protect runs fn and turns a panic into an error.
func protect[T any](fn func() (T, error)) (o outcome[T]) {
	defer func() {
		if r := recover(); r != nil {
			o.err = fmt.Errorf("panic in library call: %v", r)
		}
	}()
	o.value, o.err = fn()
	return o
}
