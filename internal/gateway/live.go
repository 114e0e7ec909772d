package gateway

import (
	"context"
	"sync"
	"time"
)

// live is the set of open connections, for what has to look at all of them.
type live struct {
	mu sync.Mutex
	// conns tells of each connection whether it is joined.
	conns map[*conn]bool
	// up and down are the bytes moved by connections that have ended.
	up, down int64
}

func (l *live) add(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = false
}

// join marks a connection whose sockets are both set.
func (l *live) join(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = true
}

func (l *live) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.up += c.up.moved.Load()
	l.down += c.down.moved.Load()
}

// bytes are those moved so far, towards the enclaves and towards the clients.
func (l *live) bytes() (up, down int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	up, down = l.up, l.down
	for c := range l.conns {
		up += c.up.moved.Load()
		down += c.down.moved.Load()
	}
	return up, down
}

// split lists the connections that are joined, and those that are not yet.
func (l *live) split() (joined, opening []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, isJoined := range l.conns {
		if isJoined {
			joined = append(joined, c)
		} else {
			opening = append(opening, c)
		}
	}
	return joined, opening
}

// closeAll ends every connection.
func (l *live) closeAll() {
	joined, opening := l.split()
	for _, c := range joined {
		c.abort(outcomeStopped)
	}
	for _, c := range opening {
		c.client.Close() // its goroutine notices
	}
}

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
