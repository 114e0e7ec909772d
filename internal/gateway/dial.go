package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// Kinds of a failed dial.
var (
	errBackendRefused     = errors.New("the enclave's endpoint refused the connection")
	errBackendTimeout     = errors.New("the enclave's endpoint did not answer in time")
	errBackendUnreachable = errors.New("the enclave's endpoint can't be reached")
)

// Dialer opens a connection to an enclave's endpoint and obeys the context's
// deadline.
type Dialer interface {
	DialEnclave(ctx context.Context, endpoint string) (*net.TCPConn, error)
}

// netDialer dials through the operating system.
type netDialer struct {
	dialer net.Dialer
}

func newNetDialer() *netDialer {
	return &netDialer{dialer: net.Dialer{
		KeepAlive: -1, // the sweep sets it on connections that last
	}}
}

// DialEnclave implements Dialer. It does not use the Dialer's DialTCP, which
// binds the socket first: then the kernel looks for a port that is free for all
// destinations, at many times the cost of the rest.
func (d *netDialer) DialEnclave(ctx context.Context, endpoint string) (*net.TCPConn, error) {
	c, err := d.dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("dial %s gave a %T", endpoint, c), c.Close())
	}
	return tcp, nil
}

// untilContext is a context with a deadline and nothing else. A dial under a
// context that can be cancelled costs a goroutine; under this one it costs none,
// and ends by the deadline all the same.
type untilContext struct {
	context.Context
	until time.Time
}

// Deadline implements context.Context.
func (c untilContext) Deadline() (time.Time, bool) { return c.until, true }

// classifyDial wraps a dial's error in its kind.
func classifyDial(err error) error {
	kind := errBackendUnreachable
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		kind = errBackendRefused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		kind = errBackendTimeout
	}
	return fmt.Errorf("%w: %w", kind, err)
}
