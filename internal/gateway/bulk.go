package gateway

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A bulk stream is moved by splice(2), which copies no bytes. What it costs is
// wakeups and calls, so that fewer and larger ones are the aim: the socket is
// told to wake its reader only when much has come (SO_RCVLOWAT), and a timer
// bounds how long less than that may wait.
const (
	// spliceMost is how much one call moves: large enough to make the call cheap,
	// small enough that it, which the scheduler doesn't know of, is short.
	spliceMost = 512 << 10
	// bulkLowat is how many bytes wake the relay, and bulkWait how long fewer wait.
	// If there are fewer than bulkLeast then, it is no bulk stream any more.
	bulkLowat = 256 << 10
	bulkWait  = 2 * time.Millisecond
	bulkLeast = 64 << 10
)

// bulk is the state of one direction while it is spliced.
type bulk struct {
	pipe  pipe
	left  int // bytes in the pipe
	errno syscall.Errno
}

// splice moves bytes inside the kernel for as long as the stream is a bulk one.
// At the stream's end it returns nil, and the next read finds the end again.
func (r *relay) splice() error {
	p, err := r.pipes.take()
	if err != nil {
		return nil //nolint:nilerr // without a pipe the stream goes on through a buffer
	}
	b := &bulk{pipe: p}
	defer func() { r.pipes.give(p, b.left == 0) }()
	if err := r.lowat(bulkLowat); err != nil {
		return &relayError{readSide, err}
	}
	for {
		last, err := r.fill(b)
		if err != nil {
			return &relayError{readSide, err}
		}
		if err := r.empty(b); err != nil {
			return &relayError{writeSide, err}
		}
		if last {
			return r.calm()
		}
	}
}

// calm ends the bulk stream: from here on every byte wakes the relay.
func (r *relay) calm() error {
	if err := errors.Join(r.lowat(1), r.src.SetReadDeadline(time.Time{})); err != nil {
		return &relayError{readSide, err}
	}
	return nil
}

// fill splices what is there into the pipe. It is the last if little comes, or
// nothing any more.
func (r *relay) fill(b *bulk) (last bool, err error) {
	if err := r.src.SetReadDeadline(time.Now().Add(bulkWait)); err != nil {
		return false, err
	}
	least := 1
	err = r.raw.Read(func(fd uintptr) bool {
		b.left, b.errno = spliceOnce(int(fd), b.pipe.in, spliceMost)
		return b.errno != syscall.EAGAIN
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		least = bulkLeast
		err = r.raw.Control(func(fd uintptr) {
			b.left, b.errno = spliceOnce(int(fd), b.pipe.in, spliceMost)
		})
	}
	switch {
	case err != nil:
		return false, err
	case b.errno == syscall.EAGAIN:
		b.left = 0
		return true, nil
	case b.errno != 0:
		b.left = 0
		return false, b.errno
	}
	return b.left < least, nil
}

// empty splices the pipe's bytes out, waiting for room as long as it takes.
func (r *relay) empty(b *bulk) error {
	if b.left == 0 {
		return nil
	}
	err := r.to.raw.Write(func(fd uintptr) bool {
		for b.left > 0 {
			n, errno := spliceOnce(b.pipe.out, int(fd), b.left)
			if b.errno = errno; errno != 0 {
				return errno != syscall.EAGAIN
			}
			b.left -= n
			r.moved.Add(int64(n))
		}
		return true
	})
	if err != nil {
		return err
	}
	if b.errno != 0 {
		return b.errno
	}
	return nil
}

// spliceOnce makes one call that does not wait, past the scheduler, which would
// otherwise hand the processor on and take it back.
func spliceOnce(from, to, most int) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most),
			unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

// lowat sets how many bytes wake the reader of the source.
func (r *relay) lowat(n int) error {
	return control(r.raw, func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, n); err != nil {
			return fmt.Errorf("set SO_RCVLOWAT: %w", err)
		}
		return nil
	})
}
