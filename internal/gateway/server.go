package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Server accepts connections and joins them to enclaves.
type Server struct {
	cfg       Config
	log       *slog.Logger
	listeners []*listener
	metrics   *metrics
	limit     *limit
	holds     *holds
	started   atomic.Bool
	accepting atomic.Bool
	workers   *workers
	live      live
	pipes     pipes
	closing   closeQueue
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
		holds:   newHolds(cfg.MaxHeld, cfg.MaxHeldRoute, max(cfg.MaxSource/heldShare, 1)),
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
	listeners := slices.Clone(s.cfg.Listeners)
	lc := net.ListenConfig{KeepAlive: -1} // newListener sets it
	lc.SetMultipathTCP(false)             // as plain TCP it passes all options on
	var failure error
	for _, addr := range s.cfg.Listen {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			failure = errors.Join(failure, fmt.Errorf("listen on %s: %w", addr, err))
			continue
		}
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		own, err := newListener(l.(*net.TCPListener), s.cfg.KeepAlive) // withDefaults has refused any other
		if err != nil {
			failure = errors.Join(failure, err)
			continue
		}
		s.listeners = append(s.listeners, own)
	}
	return failure
}

// Addrs are the addresses the server accepts on.
func (s *Server) Addrs() []net.Addr {
	out := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = l.addr
	}
	return out
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.close())
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
	s.closing.flush()
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
