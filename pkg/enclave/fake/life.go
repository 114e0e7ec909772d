package fake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// life is a running guest.
type life interface {
	// wait returns once it is gone, with how it ended in words, or errDetached
	// once detach was called.
	wait() (string, error)
	// powerOff presses the power button.
	powerOff() error
	// kill ends it.
	kill() error
	// detach lets go of it: a process lives on, a guest in this process ends.
	detach()
}

// errDetached says that the backend let go of a guest that may still run.
var errDetached = errors.New("let go of the guest")

// process is a guest in a process of its own, which is named by a pidfd: unlike
// its number, that can never come to mean another process.
type process struct {
	pid  int
	file *os.File // the pidfd, pollable
}

// spawn starts the guest's binary in a session of its own, with the lock.
func spawn(guest string, dir guestdir.Dir, lock *os.File) (l life, err error) {
	console, err := os.OpenFile(dir.Path(guestdir.ConsoleFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open console: %w", err)
	}
	defer func() { err = errors.Join(err, console.Close()) }()
	fd := -1
	cmd := exec.Command(guest, "--simulated", "--dir", string(dir)) //nolint:gosec // the operator names the binary
	cmd.Dir, cmd.Env = string(dir), []string{}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = console, console, []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, PidFD: &fd}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guest: %w", err)
	}
	pid := cmd.Process.Pid
	if fd < 0 {
		return nil, errors.Join(errors.New("this kernel has no pidfd"), cmd.Process.Kill(), cmd.Wait())
	}
	if err := cmd.Process.Release(); err != nil {
		return nil, fmt.Errorf("start the guest: %w", err)
	}
	return newProcess(pid, fd)
}

// adopt takes up the process that holds the folder's lock, started by an earlier
// backend.
func adopt(dir guestdir.Dir) (life, error) {
	path := dir.Path(guestdir.LockFile)
	pid, err := lockHolder(path)
	if err != nil {
		return nil, err
	}
	if pid == 0 {
		return nil, fmt.Errorf("no process is found that holds %s", path)
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	// Between the look and the open, the number may have passed to another process.
	lock, err := os.Stat(path)
	if err != nil || !holds(pid, lock) {
		return nil, errors.Join(fmt.Errorf("process %d does not hold %s any more", pid, path), unix.Close(fd))
	}
	return newProcess(pid, fd)
}

func newProcess(pid, fd int) (life, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("watch process %d: %w", pid, err), unix.Close(fd))
	}
	return &process{pid: pid, file: os.NewFile(uintptr(fd), "pidfd")}, nil
}

func (p *process) wait() (string, error) {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("watch process %d: %w", p.pid, err)
	}
	if err := conn.Read(ended); err != nil {
		return "", errDetached
	}
	defer func() { _ = p.file.Close() }()
	return p.reap(), nil
}

// ended says whether the pidfd's process is gone.
func ended(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 1
}

// reap takes the exit status if the process is a child of this one.
func (p *process) reap() string {
	var status unix.WaitStatus
	pid, err := unix.Wait4(p.pid, &status, unix.WNOHANG, nil)
	switch {
	case err != nil || pid != p.pid:
		return "its process ended"
	case status.Signaled():
		return fmt.Sprintf("its process was ended by signal %d (%s)", status.Signal(), status.Signal())
	}
	return fmt.Sprintf("its process ended with status %d", status.ExitStatus())
}

func (p *process) powerOff() error { return p.signal(unix.SIGTERM) }
func (p *process) kill() error     { return p.signal(unix.SIGKILL) }
func (p *process) detach()         { _ = p.file.Close() }

func (p *process) signal(sig unix.Signal) error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return errDetached
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return errDetached
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// thread is a guest in this process.
type thread struct {
	cut    context.CancelFunc
	button chan struct{}
	press  sync.Once
	ended  chan struct{}
	result error
}

func startThread(run func(context.Context, string, <-chan struct{}) error, dir guestdir.Dir, lock *os.File) life {
	ctx, cut := context.WithCancel(context.Background())
	t := &thread{cut: cut, button: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		t.result = errors.Join(run(ctx, string(dir), t.button), lock.Close())
	}()
	return t
}

func (t *thread) wait() (string, error) {
	<-t.ended
	t.cut()
	return fmt.Sprintf("its guest ended: %v", t.result), nil
}

func (t *thread) powerOff() error {
	t.press.Do(func() { close(t.button) })
	return nil
}

func (t *thread) kill() error {
	t.cut()
	return nil
}

func (t *thread) detach() { t.cut() }
