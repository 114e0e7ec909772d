package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// maxPrepares bounds the specs that are prepared at the same time.
const maxPrepares = 8

// prepares joins those who want the same spec prepared.
type prepares struct {
	slots chan struct{} // one token a piece of work

	mu      sync.Mutex // guards flights
	flights map[string]*flight
	work    sync.WaitGroup
}

// flight is work in progress that several may wait for.
type flight struct {
	done chan struct{} // closed at the end
	err  error         // valid once done is closed
}

func newPrepares() *prepares {
	return &prepares{slots: make(chan struct{}, maxPrepares), flights: map[string]*flight{}}
}

// wait waits until no work is in progress.
func (p *prepares) wait() { p.work.Wait() }

// join returns the flight of this key, and begins it if there is none. The work
// goes on when those who wait go away; it ends with life.
func (p *prepares) join(life context.Context, key string, work func(context.Context) error) *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.flights[key]; ok {
		return f
	}
	f := &flight{done: make(chan struct{})}
	p.flights[key] = f
	p.work.Go(func() {
		f.err = p.run(life, work)
		p.mu.Lock()
		delete(p.flights, key)
		p.mu.Unlock()
		close(f.done)
	})
	return f
}

func (p *prepares) run(ctx context.Context, work func(context.Context) error) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.slots }()
	return work(ctx)
}

// prepare fetches what a spec needs and returns how long that took. It joins work
// in progress on the same spec.
func (a *Agent) prepare(ctx context.Context, spec *agentv1.EnclaveSpec, digest string) (time.Duration, error) {
	life, err := a.lifetime()
	if err != nil {
		return 0, err
	}
	begin := a.cfg.Now()
	f := a.prepares.join(life, digest, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, a.cfg.Times.Prepare)
		defer cancel()
		return a.cfg.Backend.Prepare(ctx, spec)
	})
	select {
	case <-f.done:
		if f.err != nil {
			return 0, fmt.Errorf("prepare: %w", f.err)
		}
		return a.cfg.Now().Sub(begin), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("prepare: %w", ctx.Err())
	}
}

// lifetime is the context of what outlives a call; an error before Run.
func (a *Agent) lifetime() (context.Context, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil || a.running.Err() != nil {
		return nil, starting()
	}
	return a.running, nil
}
