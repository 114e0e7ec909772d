package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// drain closes idle connections, accepts who is connected already and nobody
// else, waits up to the grace time for the requests in flight, and ends those
// that are left. served has what the server's loop returned.
func (g *Guest) drain(ctx context.Context, served chan error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Grace)
	defer cancel()
	g.server.SetKeepAlivesEnabled(false)
	if err := g.door.end(); err != nil && !errors.Is(err, net.ErrClosed) {
		g.cfg.Log.Warn("those who had just connected are refused", "error", err)
	} else {
		select {
		case err := <-served:
			served <- err
		case <-ctx.Done():
		}
	}
	g.callers.wait(ctx, g.cfg.Silence)
	err := g.server.Shutdown(ctx)
	if err == nil {
		err = g.requests.wait(ctx) // Shutdown does not know upgraded connections
	}
	if err != nil {
		g.cfg.Log.Warn("requests were cut off", "left", g.requests.count(), "error", err)
	}
	g.requests.end()
	_ = g.server.Close() // it reports the listener that Shutdown closed before
	if s := g.upstream.Load(); s != nil {
		s.transport.CloseIdleConnections()
	}
}

// stopSlack is what a runtime may take beyond the container's own stop timeout.
const stopSlack = 10 * time.Second

// stopContainers stops the containers, the last one started first.
func stopContainers(ctx context.Context, all []started) error {
	var errs []error
	for _, s := range slices.Backward(all) {
		if err := stopContainer(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("stop container %s: %w", s.container.Name, err))
		}
	}
	return errors.Join(errs...)
}

func stopContainer(ctx context.Context, s started) error {
	ctx, cancel := context.WithTimeout(ctx, s.container.StopTimeout+stopSlack)
	defer cancel()
	return s.workload.Stop(ctx)
}

// inflight knows the requests that are being served, upgraded ones too.
type inflight struct {
	mu    sync.Mutex
	next  int
	stops map[int]context.CancelFunc
	idle  chan struct{} // closed when stops is empty
	over  bool
}

func newInflight() *inflight {
	idle := make(chan struct{})
	close(idle)
	return &inflight{stops: map[int]context.CancelFunc{}, idle: idle}
}

// begin registers a request; done must be called at its end.
func (f *inflight) begin(parent context.Context) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(parent)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		cancel()
		return ctx, func() {}
	}
	if len(f.stops) == 0 {
		f.idle = make(chan struct{})
	}
	id := f.next
	f.next++
	f.stops[id] = cancel
	return ctx, func() {
		cancel()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.stops, id)
		if len(f.stops) == 0 {
			close(f.idle)
		}
	}
}

func (f *inflight) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.stops)
}

// wait returns once no request is left, or with the error of ctx.
func (f *inflight) wait(ctx context.Context) error {
	f.mu.Lock()
	idle := f.idle
	f.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end cuts off what is left, and all that comes later.
func (f *inflight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	for _, stop := range f.stops {
		stop()
	}
}
