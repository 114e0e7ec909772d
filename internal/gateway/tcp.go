package gateway

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// States of a TCP socket (linux/include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpClose       = 7
)

// tcpInfo asks the kernel about a socket.
func tcpInfo(raw syscall.RawConn) (*unix.TCPInfo, error) {
	var info *unix.TCPInfo
	var infoErr error
	err := raw.Control(func(fd uintptr) {
		info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err == nil {
		err = infoErr
	}
	if err != nil {
		return nil, fmt.Errorf("tcp info: %w", err)
	}
	return info, nil
}

func fdState(fd int) (uint8, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, fmt.Errorf("tcp info: %w", err)
	}
	return info.State, nil
}

func tcpState(raw syscall.RawConn) (uint8, error) {
	info, err := tcpInfo(raw)
	if err != nil {
		return 0, err
	}
	return info.State, nil
}

// hasError tells whether a socket was reset. A socket that both sides have ended
// in order is closed too, and may have bytes left to read.
func hasError(raw syscall.RawConn) bool {
	var pending int
	err := control(raw, func(fd int) (err error) {
		pending, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		return err
	})
	return err == nil && pending != 0
}

// quietFor is how long a socket has neither sent nor received data.
func quietFor(info *unix.TCPInfo) time.Duration {
	return time.Duration(min(info.Last_data_sent, info.Last_data_recv)) * time.Millisecond
}

// KeepAlive sets when the kernel gives up a peer that no longer answers.
type KeepAlive struct {
	// Idle is the silence before the first probe, Interval the time between two;
	// whole seconds. Count is how many may go unanswered.
	Idle, Interval time.Duration
	Count          int
}

// apply sets the options on a socket. On a listening one they pass to every
// connection it accepts (tcp(7)), which saves four calls a connection.
func (k KeepAlive) apply(fd int) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(k.Idle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(k.Interval / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("set keepalive: %w", err)
		}
	}
	return nil
}

func (k KeepAlive) applyTo(raw syscall.RawConn) error { return control(raw, k.apply) }

// control sets options on a socket.
func control(raw syscall.RawConn, set func(fd int) error) error {
	var setErr error
	if err := raw.Control(func(fd uintptr) { setErr = set(int(fd)) }); err != nil {
		return fmt.Errorf("set socket options: %w", err)
	}
	return setErr
}
