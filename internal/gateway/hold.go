package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Ends of a hold other than its release.
var (
	errHoldFull    = errors.New("too many connections wait for the held route")
	errHoldTimeout = errors.New("the held route was not released in time")
	errHoldGone    = errors.New("client left while its route was held")
	errStopping    = errors.New("the gateway is stopping")
)

// holds lets connections wait for held routes, up to a number in all, for each route
// and for each source, so that one client does not take the places of all others.
type holds struct {
	max, maxRoute, maxSource int
	waiting                  atomic.Int64

	mu       sync.Mutex
	byRoute  map[string]int
	bySource map[netip.Addr]int
}

func newHolds(total, route, source int) *holds {
	return &holds{max: total, maxRoute: route, maxSource: source, byRoute: map[string]int{}, bySource: map[netip.Addr]int{}}
}

func (h *holds) enter(domain string, source netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if int(h.waiting.Load()) >= h.max || h.byRoute[domain] >= h.maxRoute || h.bySource[source] >= h.maxSource {
		return false
	}
	h.byRoute[domain]++
	h.bySource[source]++
	h.waiting.Add(1)
	return true
}

func (h *holds) leave(domain string, source netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byRoute[domain]--; h.byRoute[domain] <= 0 {
		delete(h.byRoute, domain)
	}
	if h.bySource[source]--; h.bySource[source] <= 0 {
		delete(h.bySource, source)
	}
	h.waiting.Add(-1)
}

// wait returns nil when the entry has been replaced: the caller looks up the
// domain again. It gives up at the deadline, when the client leaves, and with
// the context.
func (h *holds) wait(ctx context.Context, e *entry, client *socket, source netip.Addr, deadline time.Time) error {
	if !h.enter(e.route.Domain, source) {
		return errHoldFull
	}
	defer h.leave(e.route.Domain, source)
	gone := make(chan struct{})
	watched := make(chan error, 1)
	go func() { watched <- watchGone(client, gone) }()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var err error
	select {
	case <-e.replaced:
	case <-gone:
		err = errHoldGone
	case <-timer.C:
		err = errHoldTimeout
	case <-ctx.Done():
		err = errStopping
	}
	// A read deadline in the past ends the watch; the connection goes on without.
	if stopErr := client.setReadDeadline(time.Unix(1, 0)); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("stop watching the held client: %w", stopErr))
		client.Close()
	}
	if watchErr := <-watched; watchErr != nil && err == nil {
		err = watchErr
	}
	if err == nil {
		if clearErr := client.setReadDeadline(time.Time{}); clearErr != nil {
			err = fmt.Errorf("clear the held client's deadline: %w", clearErr)
		}
	}
	return err
}

// watchGone closes gone when the peer has closed or reset the connection. It
// reads nothing, so that bytes sent early reach the enclave. It returns when the
// socket's read deadline passes.
func watchGone(client *socket, gone chan<- struct{}) error {
	err := client.Read(func(fd uintptr) bool {
		state, err := tcpState(int(fd))
		return err != nil || state != tcpEstablished
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	close(gone)
	return errHoldGone
}

// holdTimeout is how long connections may wait for a route.
func (s *Server) holdTimeout(r Route) time.Duration {
	if r.HoldTimeout > 0 {
		return r.HoldTimeout
	}
	return s.cfg.HoldTimeout
}
