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

// refused ends a connection that was not joined.
func (s *Server) refused(c *conn, err error) {
	o, a := outcomeInternal, alertInternalError
	var hello *helloError
	switch {
	case errors.As(err, &hello):
		o, a = outcomeHello, s.helloRefused(hello)
	case errors.Is(err, errSourceLimit):
		o, a = outcomeSourceLimit, 0
	default:
		for _, r := range refusals {
			if errors.Is(err, r.err) {
				o, a = r.outcome, r.alert
				break
			}
		}
	}
	if a == 0 {
		c.client.Close()
	} else {
		refuse(c.client, a)
	}
	c.ended = o
	s.parted(c)
}

// helloRefused counts the reason and returns the alert for it.
func (s *Server) helloRefused(err *helloError) alert {
	for _, r := range helloRefusals {
		if errors.Is(err, r.err) {
			s.metrics.hello.WithLabelValues(r.reason).Inc()
			return r.alert
		}
	}
	s.metrics.hello.WithLabelValues("other").Inc()
	return alertInternalError
}

// parted takes a connection that has ended out of every count.
func (s *Server) parted(c *conn) {
	s.live.remove(c)
	s.metrics.open.Add(-1)
	s.metrics.total[c.ended].Inc()
	if c.counted.IsValid() {
		s.limit.leaveSource(c.counted)
	}
	s.limit.leave()
}

// faulted ends a connection after a panic, as far as it had come.
func (s *Server) faulted(c *conn) {
	if c.entry != nil {
		c.abort(outcomeInternal)
		return
	}
	c.client.Close()
	c.ended = outcomeInternal
	s.parted(c)
}
