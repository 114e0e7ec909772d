package gateway

import (
	"errors"
	"syscall"
)

// sender writes to a socket. It is reused, and belongs to one goroutine.
type sender struct {
	to   *socket
	left []byte
	err  error
	step func(fd uintptr) bool
}

func (s *sender) init(to *socket) {
	s.to = to
	s.step = s.some
}

// send writes all of buf, waiting for room as long as it takes.
func (s *sender) send(buf []byte) error {
	s.left, s.err = buf, nil
	err := s.to.Write(s.step)
	s.left = nil
	if err != nil {
		return err
	}
	return s.err
}

// some writes what there is room for; it is done when nothing is left.
func (s *sender) some(fd uintptr) bool {
	for len(s.left) > 0 {
		n, err := sendto(int(fd), s.left)
		switch {
		case err == nil:
			s.left = s.left[n:]
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		default:
			s.err = err
			return true
		}
	}
	return true
}
