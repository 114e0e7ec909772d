package gateway

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a TCP socket that the runtime waits for. It is no net.TCPConn, which
// asks for addresses and sets options that a gateway needs of few connections, and
// makes every call through the scheduler.
type socket struct {
	file *os.File
	// Read and Write of the raw connection wait until the socket is ready.
	syscall.RawConn
}

// newSocket takes over a descriptor that does not block.
func newSocket(fd int) (*socket, error) {
	return fileSocket(os.NewFile(uintptr(fd), "tcp"))
}

func fileSocket(f *os.File) (*socket, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("raw connection of a socket: %w", err)
	}
	return &socket{file: f, RawConn: raw}, nil
}

// Close releases the socket and wakes whoever waits for it. It goes through the
// scheduler: see closeQueue.
func (s *socket) Close() error { return s.file.Close() }

func (s *socket) setDeadline(t time.Time) error     { return s.file.SetDeadline(t) }
func (s *socket) setReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// control makes calls on the socket that don't wait.
func (s *socket) control(call func(fd int) error) error {
	var callErr error
	if err := s.RawConn.Control(func(fd uintptr) { callErr = call(int(fd)) }); err != nil {
		return fmt.Errorf("use a socket: %w", err)
	}
	return callErr
}

// closeWrite sends the end of the stream.
func (s *socket) closeWrite() error {
	return s.control(func(fd int) error { return shutdown(fd, unix.SHUT_WR) })
}

// resetOnClose makes Close send a reset instead of the end of the stream.
func (s *socket) resetOnClose() error {
	return s.control(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
}

// local is the socket's own address.
func (s *socket) local() (addr netip.AddrPort, err error) {
	err = s.control(func(fd int) error {
		addr, err = localAddr(fd)
		return err
	})
	return addr, err
}
