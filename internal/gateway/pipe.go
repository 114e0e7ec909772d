package gateway

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is what the kernel lets an ordinary user have (pipe(7)).
	pipeSize = 1 << 20
	// maxFreePipes bounds the pipes that are kept for the next bulk stream.
	maxFreePipes = 64
)

// pipe is where spliced bytes wait: splice(2) needs one between two sockets.
type pipe struct{ in, out int }

// pipes are the empty ones that nobody uses. Making one costs as much as moving
// some hundred kilobytes.
type pipes struct {
	mu   sync.Mutex
	free []pipe
}

func (p *pipes) take() (pipe, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		last := p.free[n-1]
		p.free = p.free[:n-1]
		return last, nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return pipe{}, fmt.Errorf("pipe for a bulk stream: %w", err)
	}
	// Above the user's share of pipe buffers this fails, and the pipe is small.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	return pipe{in: fds[1], out: fds[0]}, nil
}

// give takes back a pipe; one that is not empty is closed.
func (p *pipes) give(one pipe, empty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if empty && len(p.free) < maxFreePipes {
		p.free = append(p.free, one)
		return
	}
	one.close()
}

// close closes the free pipes.
func (p *pipes) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.free {
		one.close()
	}
	p.free = nil
}

func (p pipe) close() {
	_ = unix.Close(p.in) // nothing is lost: what was in it has no reader any more
	_ = unix.Close(p.out)
}
