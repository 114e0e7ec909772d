package oneshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
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
// is too slow or that says too much gives an error, with what it wrote to stderr; so
// does one that ctx ends. It has no terminal, and what it started ends with it.
func Ask(ctx context.Context, c Command) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	p := exec.CommandContext(ctx, c.Path, c.Args...)
	p.Env = c.Env
	p.Stdin = bytes.NewReader(c.Stdin)
	p.WaitDelay = time.Second
	out, said := &bounded{limit: c.MaxOut}, &bounded{limit: maxSaid}
	p.Stdout, p.Stderr = out, said
	err := runGroup(p)
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer in time: %w", cause)
	case cause != nil:
		return nil, fmt.Errorf("stopped before it answered: %w", cause)
	case err != nil:
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.kept.String()))
	case out.over:
		return nil, fmt.Errorf("its answer has more than %d bytes", c.MaxOut)
	}
	return out.kept.Bytes(), nil
}

// runGroup runs a program in a session, and so a process group, of its own, and kills
// the group in the end: when the context ends, and after an answer too. A group in the
// terminal's session would stop, not fail, where it asks a person for a PIN.
func runGroup(p *exec.Cmd) error {
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	kill := func() error { return syscall.Kill(-p.Process.Pid, syscall.SIGKILL) }
	p.Cancel = kill
	if err := p.Start(); err != nil {
		return err
	}
	err := p.Wait()
	// ESRCH: nobody is left. While somebody is, the group's number is given to no other.
	_ = kill()
	return err
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
