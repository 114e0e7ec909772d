package guest

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lastCall is a listener that can end without refusing anybody who is already
// there. Closing a socket resets the connections that the kernel has accepted on
// its behalf: a gateway that connected a moment ago would lose its client.
type lastCall struct {
	net.Listener
	socket interface {
		syscall.Conn
		SetDeadline(time.Time) error
	}
	ending atomic.Bool
}

// newLastCall wraps a TCP listener; of any other, end only closes it.
func newLastCall(l net.Listener) *lastCall {
	c := &lastCall{Listener: l}
	if tcp, ok := l.(*net.TCPListener); ok {
		c.socket = tcp
	}
	return c
}

// end makes Accept fail with net.ErrClosed once nobody waits any more.
func (l *lastCall) end() error {
	if l.socket == nil {
		return l.Close()
	}
	l.ending.Store(true)
	return l.socket.SetDeadline(time.Unix(1, 0)) // wakes an Accept that waits
}

// Accept implements net.Listener.
func (l *lastCall) Accept() (net.Conn, error) {
	for {
		if l.ending.Load() {
			if !l.waiting() {
				return nil, net.ErrClosed
			}
			// Somebody is there, so the next accept does not wait.
			if err := l.socket.SetDeadline(time.Time{}); err != nil {
				return nil, err
			}
		}
		c, err := l.Listener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
	}
}

// waiting says whether the kernel has a connection that was not accepted yet.
func (l *lastCall) waiting() bool {
	raw, err := l.socket.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		for {
			var pollErr error
			n, pollErr = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			if !errors.Is(pollErr, unix.EINTR) {
				return
			}
		}
	})
	return err == nil && n > 0
}
