package gateway

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// relayBuffer is the size of a relay's buffer, in bytes: one TLS record and a
	// little.
	relayBuffer = 17 << 10
	// bulkReads is how many full buffers in a row make a bulk stream.
	bulkReads = 2
)

var relayBuffers = sync.Pool{New: func() any { return new([relayBuffer]byte) }}

// side says at which socket a relay failed.
type side int

const (
	readSide side = iota
	writeSide
)

// relayError is the failure of one direction of a joined connection.
type relayError struct {
	side side
	err  error
}

func (e *relayError) Error() string {
	if e.side == readSide {
		return fmt.Sprintf("read: %v", e.err)
	}
	return fmt.Sprintf("write: %v", e.err)
}

func (e *relayError) Unwrap() error { return e.err }

// relay moves bytes from one socket to the other, in one direction, until the
// first one's end. Small messages go through a buffer that is held only while
// there is something in it; a bulk stream is spliced inside the kernel.
type relay struct {
	src, dst *socket
	from     receiver
	to       sender
	pipes    *pipes
	moved    atomic.Int64 // bytes written to dst
	full     int          // full buffers in a row
	err      *relayError
}

func (r *relay) init(src, dst *socket, free *pipes) {
	r.src, r.dst, r.pipes = src, dst, free
	r.to.init(dst)
}

// run returns nil at the end of the stream, else a *relayError.
func (r *relay) run() error {
	for {
		r.full, r.err = 0, nil
		ended := false
		err := r.src.Read(func(fd uintptr) bool {
			var done bool
			done, ended = r.copyReady(int(fd))
			return done
		})
		switch {
		case err != nil:
			return &relayError{readSide, err}
		case r.err != nil:
			return r.err
		case ended:
			return nil
		}
		if err := r.splice(); err != nil {
			return err
		}
	}
}

// copyReady copies what is there. It is done at the end of the stream, after an
// error, or when the stream has turned out to be a bulk one.
func (r *relay) copyReady(fd int) (done, ended bool) {
	buf := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buf)
	for {
		n, more, err := r.from.receive(fd, buf[:])
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return false, false
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			r.err = &relayError{readSide, err}
			return true, false
		case n == 0:
			return true, true
		}
		if err := r.to.send(buf[:n]); err != nil {
			r.err = &relayError{writeSide, err}
			return true, false
		}
		r.moved.Add(int64(n))
		if !more {
			return false, false
		}
		if n < len(buf) {
			r.full = 0
			continue
		}
		if r.full++; r.full >= bulkReads {
			return true, false
		}
	}
}
