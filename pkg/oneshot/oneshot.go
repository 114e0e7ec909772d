package oneshot

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// maxSaid bounds what is kept of stderr, in bytes.
const maxSaid = 4096

// Command is a program and what it is given.
type Command struct {
	// Path is the program, Args are its arguments.
	Path string
	Args []string
	// Env is its environment; nil is this process's own, empty none at all.
	Env []string
	// Stdin is what it reads.
	Stdin []byte
	// Timeout bounds its time, MaxOut its answer in bytes.
	Timeout time.Duration
	MaxOut  int
}

// Ask runs the program and returns what it wrote to stdout. A program that fails, that
// is too slow or that says too much gives an error, with what it wrote to stderr.
func Ask(ctx context.Context, c Command) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	p := exec.CommandContext(ctx, c.Path, c.Args...)
	p.Env = c.Env
	p.Stdin = bytes.NewReader(c.Stdin)
	p.WaitDelay = time.Second
	out, said := &bounded{limit: c.MaxOut}, &bounded{limit: maxSaid}
	p.Stdout, p.Stderr = out, said
	err := p.Run()
	if cause := ctx.Err(); cause != nil {
		return nil, fmt.Errorf("no answer in time: %w", cause)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.kept.String()))
	}
	if out.over {
		return nil, fmt.Errorf("its answer has more than %d bytes", c.MaxOut)
	}
	return out.kept.Bytes(), nil
}

// bounded keeps what is written to it, up to a limit, and takes everything. The
// buffer is not embedded: its ReadFrom would pass the limit by.
type bounded struct {
	kept  bytes.Buffer
	limit int
	over  bool
}

// Write keeps what fits.
func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.kept.Len()
	b.over = b.over || len(p) > room
	b.kept.Write(p[:min(len(p), room)])
	return len(p), nil
}
