package gateway

import (
	"context"
	"time"
)

// sweep looks at every joined connection, again and again until the context
// ends.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(s.cfg.SweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			joined, _ := s.live.split()
			for _, c := range joined {
				s.look(c)
			}
			s.closing.flush()
		case <-ctx.Done():
			return
		}
	}
}

// look ends a connection that is idle, or dead: a reset that came together with
// data goes unnoticed by a relay that has nothing to write. It asks the kernel,
// so that moving bytes needs no clock.
func (s *Server) look(c *conn) {
	client, err := c.client.info()
	if err != nil {
		return // being closed
	}
	backend, err := c.up.dst.info()
	if err != nil {
		return
	}
	limit := s.cfg.IdleTimeout
	if c.half.Load() > 0 {
		limit = s.cfg.HalfTimeout
	}
	switch {
	case client.State == tcpClose && c.client.hasError():
		c.abort(outcomeClientReset)
	case backend.State == tcpClose && c.up.dst.hasError():
		c.abort(outcomeBackendReset)
	case min(quietFor(client), quietFor(backend)) > limit:
		c.abort(outcomeIdle)
	case !c.kept:
		c.kept = c.up.dst.control(s.cfg.KeepAlive.apply) == nil
	}
}

// cutLost ends the connections to enclaves that were lost with their host, again
// and again until the context ends: nothing would be heard from there, not even an
// end, until keepalive gives up.
func (s *Server) cutLost(ctx context.Context) {
	for {
		next := s.cfg.Routes.register.lost.wait()
		joined, _ := s.live.split()
		for _, c := range joined {
			if c.entry.enclave.cut() {
				c.abort(outcomeHostLost)
			}
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
	}
}
