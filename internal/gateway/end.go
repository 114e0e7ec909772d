package gateway

import "errors"

// refused ends a connection that was not joined.
func (s *Server) refused(c *conn, err error) {
	o, a := outcomeInternal, alertInternalError
	var hello *helloError
	if errors.As(err, &hello) {
		o, a = outcomeHello, s.helloRefused(hello)
	} else {
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
	c.uncount(o)
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

// faulted ends a connection after a panic, as far as it had come.
func (s *Server) faulted(c *conn) {
	if c.entry != nil {
		c.abort(outcomeInternal)
		return
	}
	c.client.Close()
	c.uncount(outcomeInternal)
}

// abort ends the connection so that both peers see a reset, not an end of the
// stream that could be taken for a complete one.
func (c *conn) abort(o outcome) {
	c.end.Do(func() {
		for _, s := range []*socket{c.client, c.up.dst} {
			_ = s.resetOnClose() // it is closed next, whatever this says
			s.Close()
		}
		c.uncount(o)
	})
}

// finish ends the connection after both its streams.
func (c *conn) finish() {
	c.end.Do(func() {
		c.s.closing.add(c.client, c.up.dst)
		c.uncount(outcomeOK)
	})
}

// uncount takes a connection that has ended out of every count.
func (c *conn) uncount(o outcome) {
	if c.entry != nil {
		c.entry.parted()
	}
	c.s.live.remove(c)
	c.s.metrics.open.Add(-1)
	c.s.metrics.total[o].Inc()
	if c.counted.IsValid() {
		c.s.limit.leaveSource(c.counted)
	}
	c.s.limit.leave()
}
