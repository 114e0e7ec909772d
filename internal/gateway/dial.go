package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of a failed dial.
var (
	errBackendRefused     = errors.New("the enclave's endpoint refused the connection")
	errBackendTimeout     = errors.New("the enclave's endpoint did not answer in time")
	errBackendUnreachable = errors.New("the enclave's endpoint can't be reached")
)

// errReplaced: the entry that was to be dialled is no longer in the table.
var errReplaced = errors.New("the route was replaced")

// dial connects to the entry's enclave and counts the connection. The gate
// around it is what an acknowledgement waits for; a connection that came to be
// while the route was replaced is given back unused.
func (s *Server) dial(e *entry) (*socket, error) {
	if !e.enter() {
		return nil, errReplaced
	}
	defer e.leave()
	backend, err := s.cfg.dial(e.route.Endpoint, time.Now().Add(s.cfg.DialTimeout))
	if err != nil {
		return nil, classifyDial(err)
	}
	if !e.current() {
		return nil, errors.Join(errReplaced, backend.Close())
	}
	e.joined()
	return backend, nil
}

// dialer opens a connection to an enclave's endpoint, and gives up at the
// deadline. The socket has TCP_NODELAY set.
type dialer func(endpoint string, deadline time.Time) (*socket, error)

// dialEndpoint is the dialer of a gateway. Endpoints are addresses as a rule;
// names, and addresses of one link only, are left to package net.
func dialEndpoint(endpoint string, deadline time.Time) (*socket, error) {
	addr, err := netip.ParseAddrPort(endpoint)
	if err != nil || addr.Addr().Zone() != "" {
		return dialName(endpoint, deadline)
	}
	s, err := dialAddr(unmapped(addr), deadline)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", endpoint, err)
	}
	return s, nil
}

func dialAddr(to netip.AddrPort, deadline time.Time) (*socket, error) {
	addr := newSockaddr(to)
	fd, err := unix.Socket(int(addr.raw.Family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	err = errors.Join(setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), connect(fd, addr))
	if err != nil {
		closeRaw(fd)
		return nil, err
	}
	s, err := newSocket(fd)
	if err != nil {
		return nil, err
	}
	if err := s.connected(to, deadline); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// connected waits until the socket is connected.
func (s *socket) connected(to netip.AddrPort, deadline time.Time) error {
	var result error
	timed := false
	err := s.Write(func(fd uintptr) bool {
		if _, result = sendto(int(fd), nil); !errors.Is(result, syscall.EAGAIN) {
			if result == nil {
				result = notItself(int(fd), to)
			}
			return true
		}
		if !timed { // an endpoint on this machine has answered by now
			timed = true
			if result = s.setDeadline(deadline); result != nil {
				return true
			}
		}
		return false
	})
	switch {
	case err != nil:
		return fmt.Errorf("connect: %w", err)
	case result != nil:
		return fmt.Errorf("connect: %w", result)
	case timed:
		return s.setDeadline(time.Time{})
	}
	return nil
}

// notItself refuses a socket that is connected to itself: on one machine, the
// kernel may give it the port to which it connects, if nobody listens there.
func notItself(fd int, to netip.AddrPort) error {
	if from, err := localAddr(fd); err != nil || from == to {
		return errors.Join(err, syscall.ECONNREFUSED)
	}
	return nil
}

func dialName(endpoint string, deadline time.Time) (*socket, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	d := net.Dialer{KeepAlive: -1} // the sweep sets it on connections that last
	c, err := d.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("dial %s gave a %T", endpoint, c)
	}
	f, err := tcp.File()
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", endpoint, err)
	}
	return fileSocket(f)
}

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
