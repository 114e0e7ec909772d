package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// Pauses after an accept that failed for want of descriptors or memory.
const (
	acceptPause    = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// accept starts a job for each connection until the context ends, which
// closes the listener.
func (s *Server) accept(ctx context.Context, l *listener) error {
	pause := acceptPause
	for {
		client, from, err := l.accept()
		if err == nil {
			pause = acceptPause
			s.admit(ctx, client, from)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if !passing(err) {
			return fmt.Errorf("accept on %s: %w", l.addr, err)
		}
		s.metrics.acceptErrors.Inc()
		s.closing.flush()
		s.log.Warn("accept failed", "address", l.addr.String(), "error", err, "retry_in", pause)
		sleep(ctx, pause)
		pause = min(2*pause, maxAcceptPause)
	}
}

// passing tells whether an accept error may be gone at the next attempt: the
// connection's own end, or a want of resources (accept(2)).
func passing(err error) bool {
	for _, code := range []syscall.Errno{
		syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// admit checks the limits. Above them the connection is closed without a word:
// answering would cost what the limit is there to save.
func (s *Server) admit(ctx context.Context, client *socket, from netip.AddrPort) {
	if !s.limit.enter() {
		s.metrics.total[outcomeLimit].Inc()
		client.Close()
		return
	}
	c := &conn{s: s, client: client, source: from}
	if !s.trusted(c.source.Addr()) && c.countSource() != nil {
		s.metrics.total[outcomeSourceLimit].Inc()
		s.limit.leave()
		client.Close()
		return
	}
	s.metrics.open.Add(1)
	s.live.add(c)
	s.workers.start(job{ctx: ctx, c: c})
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
