package gateway

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// A bulk stream is moved by splice(2), which copies no bytes. There is no timer and
// no low-water mark: SO_RCVLOWAT was measured to cost a quarter more, since it
// clamps the window that the sender sees.
const (
	// spliceMost is how much one call moves: large enough to make the call cheap,
	// small enough that it, which the scheduler doesn't know of, is short.
	spliceMost = 512 << 10
	// A stream that brings less than bulkLeast in each of bulkFew calls in a row is
	// no bulk stream any more.
	bulkLeast = 16 << 10
	bulkFew   = 4
)

// bulk is the state of one direction while it is spliced. It has a pipe only
// while there is something to be moved.
type bulk struct {
	pipes *pipes
	pipe  pipe
	held  bool
	left  int // bytes in the pipe
	few   int // calls in a row that brought little
	errno syscall.Errno
	// err is why there is no pipe.
	err error
}

// splice moves bytes inside the kernel for as long as the stream is a bulk one.
// At the stream's end it returns nil, and the next read finds the end again.
func (r *relay) splice() error {
	b := &bulk{pipes: r.pipes}
	defer b.release()
	fill, empty := b.fill, func(fd uintptr) bool { return r.empty(b, int(fd)) }
	for b.few < bulkFew {
		if err := r.src.Read(fill); err != nil {
			return &relayError{readSide, err}
		}
		switch {
		case b.err != nil:
			return nil // without a pipe the stream goes on through a buffer
		case b.errno != 0:
			return &relayError{readSide, b.errno}
		case b.left == 0:
			return nil
		}
		if err := r.dst.Write(empty); err != nil {
			return &relayError{writeSide, err}
		}
		if b.errno != 0 {
			return &relayError{writeSide, b.errno}
		}
	}
	return nil
}

// fill splices what is there into the pipe; it is done unless there is nothing.
func (b *bulk) fill(fd uintptr) bool {
	if !b.held {
		if b.pipe, b.err = b.pipes.take(); b.err != nil {
			return true
		}
		b.held = true
	}
	b.left, b.errno = spliceOnce(int(fd), b.pipe.in, spliceMost)
	if b.errno == syscall.EAGAIN {
		b.release()
		return false
	}
	if b.few++; b.left >= bulkLeast {
		b.few = 0
	}
	return true
}

// empty splices the pipe's bytes out; it is done when none is left.
func (r *relay) empty(b *bulk, fd int) bool {
	for b.left > 0 {
		n, errno := spliceOnce(b.pipe.out, fd, b.left)
		if b.errno = errno; errno != 0 {
			return errno != syscall.EAGAIN
		}
		b.left -= n
		r.moved.Add(int64(n))
	}
	return true
}

// release gives the pipe back.
func (b *bulk) release() {
	if b.held {
		b.pipes.give(b.pipe, b.left == 0)
		b.held = false
	}
}

// spliceOnce makes one call that does not wait, past the scheduler, which would
// otherwise hand the processor on and take it back.
func spliceOnce(from, to, most int) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most),
			unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
