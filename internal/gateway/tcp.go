package gateway

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// States of a TCP socket (linux/include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpClose       = 7
)

// info asks the kernel about the socket.
func (s *socket) info() (info *unix.TCPInfo, err error) {
	err = s.control(func(fd int) error {
		info, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tcp info: %w", err)
	}
	return info, nil
}

// state is the socket's state.
func (s *socket) state() (state uint8, err error) {
	err = s.control(func(fd int) error {
		state, err = tcpState(fd)
		return err
	})
	return state, err
}

// hasError tells whether the socket was reset. A socket that both sides have ended
// in order is closed too, and may have bytes left to read.
func (s *socket) hasError() bool {
	var pending int
	err := s.control(func(fd int) (err error) {
		pending, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		return err
	})
	return err == nil && pending != 0
}

// quietFor is how long a socket has neither sent nor received data.
func quietFor(info *unix.TCPInfo) time.Duration {
	return time.Duration(min(info.Last_data_sent, info.Last_data_recv)) * time.Millisecond
}
