package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// listener accepts connections.
type listener struct {
	addr net.Addr
	*socket
}

// newListener takes over a listener, and sets the options that pass from it to
// what it accepts.
func newListener(l *net.TCPListener, keepAlive KeepAlive) (*listener, error) {
	defer l.Close() // its file is another descriptor of the same socket
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Addr(), err)
	}
	s, err := fileSocket(f)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Addr(), err)
	}
	err = s.control(func(fd int) error {
		return errors.Join(keepAlive.apply(fd), askInq(fd), setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", l.Addr(), err), s.Close())
	}
	return &listener{addr: l.Addr(), socket: s}, nil
}

// accept waits for the next connection, and returns it with its peer's address.
func (l *listener) accept() (*socket, netip.AddrPort, error) {
	var from sockaddr
	var fd int
	var result error
	err := l.Read(func(lfd uintptr) bool {
		for {
			if fd, result = accept4(int(lfd), &from); !errors.Is(result, syscall.EINTR) {
				return !errors.Is(result, syscall.EAGAIN)
			}
		}
	})
	if err := errors.Join(err, result); err != nil {
		return nil, netip.AddrPort{}, err
	}
	s, err := newSocket(fd)
	return s, from.addrPort(), err
}

// close ends accept.
func (l *listener) close() error {
	if err := l.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close the listener on %s: %w", l.addr, err)
	}
	return nil
}
