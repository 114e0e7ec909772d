package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errSourceLimit = errors.New("too many connections from this source")
	errReplaced    = errors.New("the route was replaced")
)

// helloError marks errors of the hello, which have reasons of their own.
type helloError struct{ err error }

func (e *helloError) Error() string { return "hello: " + e.err.Error() }
func (e *helloError) Unwrap() error { return e.err }

// Server accepts connections and joins them to enclaves.
type Server struct {
	cfg       Config
	log       *slog.Logger
	listeners []*net.TCPListener
	metrics   *metrics
	limit     *limit
	holds     *holds
	started   atomic.Bool
	accepting atomic.Bool
	workers   *workers
	live      live
	pipes     pipes
}

// New checks the config and opens the listeners, so that a port that is taken
// shows before anything runs. Run must be called to close them.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:     cfg,
		log:     cfg.Logger,
		limit:   newLimit(cfg.MaxConnections, cfg.MaxSource),
		holds:   newHolds(cfg.MaxHeld, cfg.MaxHeldRoute),
		workers: newWorkers(),
	}
	s.live.conns = map[*conn]bool{}
	s.metrics = newMetrics(s)
	if err := s.listen(ctx); err != nil {
		return nil, errors.Join(err, s.closeListeners())
	}
	return s, nil
}

func (s *Server) listen(ctx context.Context) error {
	lc := net.ListenConfig{KeepAlive: -1} // set on the listener instead
	listeners := s.cfg.Listeners
	for _, addr := range s.cfg.Listen {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", addr, err)
		}
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		tcp := l.(*net.TCPListener) // withDefaults has refused any other
		s.listeners = append(s.listeners, tcp)
		raw, err := tcp.SyscallConn()
		if err != nil {
			return fmt.Errorf("listen on %s: %w", l.Addr(), err)
		}
		if err := s.cfg.KeepAlive.applyTo(raw); err != nil {
			return fmt.Errorf("listen on %s: %w", l.Addr(), err)
		}
	}
	return nil
}

// Addrs are the addresses the server accepts on.
func (s *Server) Addrs() []net.Addr {
	out := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = l.Addr()
	}
	return out
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Run serves until the context ends, then lets open connections finish for up to
// the drain timeout, closes what is left, and returns when nothing of the server
// runs any more. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("gateway: Run was called before")
	}
	var acceptors, tasks sync.WaitGroup
	accepting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for _, l := range s.listeners {
		acceptors.Go(func() {
			if err := s.accept(accepting, l); err != nil {
				stop(err)
			}
		})
	}
	if s.cfg.Source != nil {
		tasks.Go(func() { s.follow(accepting) })
	}
	sweeping, stopSweep := context.WithCancel(context.WithoutCancel(ctx))
	tasks.Go(func() { s.sweep(sweeping) })
	tasks.Go(func() { s.cutLost(sweeping) })
	s.log.Info("gateway serves", "addresses", s.Addrs(), "routes", s.cfg.Routes.Table().Len())

	s.accepting.Store(true)
	<-accepting.Done()
	s.accepting.Store(false)
	closeErr := s.closeListeners()
	acceptors.Wait()
	s.drain()
	s.workers.close()
	s.pipes.close()
	stopSweep()
	tasks.Wait()
	if ctx.Err() != nil {
		return closeErr
	}
	return errors.Join(context.Cause(accepting), closeErr)
}

// drain waits for the open connections, then closes those that are left.
func (s *Server) drain() {
	quiet := make(chan struct{})
	go func() {
		s.workers.running.Wait()
		close(quiet)
	}()
	timer := time.NewTimer(s.cfg.DrainTimeout)
	defer timer.Stop()
	select {
	case <-quiet:
		return
	case <-timer.C:
	}
	s.log.Warn("drain timeout over; closing what is left", "open", s.limit.total.Load())
	s.live.closeAll()
	<-quiet
}

// trusted tells whether the address is that of a proxy that speaks the PROXY
// protocol.
func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (s *Server) holdTimeout(r Route) time.Duration {
	if r.HoldTimeout > 0 {
		return r.HoldTimeout
	}
	return s.cfg.HoldTimeout
}

// dial connects to the entry's enclave and counts the connection. The gate
// around it is what an acknowledgement waits for; a connection that came to be
// while the route was replaced is given back unused.
func (s *Server) dial(e *entry) (*net.TCPConn, error) {
	if !e.enter() {
		return nil, errReplaced
	}
	defer e.leave()
	ctx := untilContext{context.Background(), time.Now().Add(s.cfg.DialTimeout)}
	backend, err := s.cfg.Dialer.DialEnclave(ctx, e.route.Endpoint)
	if err != nil {
		return nil, classifyDial(err)
	}
	if !e.current() {
		return nil, errors.Join(errReplaced, backend.Close())
	}
	e.joined()
	return backend, nil
}
