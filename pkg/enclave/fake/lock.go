package fake

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// lockFD is the descriptor by which a guest's process holds its lock: the first
// after standard input, output and error.
const lockFD = 3

// takeLock locks a file for the process that will inherit it. The lock belongs to
// the open file: it lasts until the last copy of it is closed, that is until both
// this process has closed it and the guest's is gone.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("take lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// lockHeld says whether somebody holds the lock. A missing file is held by nobody.
func lockHeld(path string) (held bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("ask for lock %s: %w", path, err)
	}
	return false, nil
}

// lockHolder returns the id of the process that has the lock file open as lockFD,
// as the kernel tells it; 0 if there is none.
func lockHolder(path string) (int, error) {
	want, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("look at lock: %w", err)
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("look at the processes: %w", err)
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err == nil && pid != os.Getpid() && holds(pid, want) {
			return pid, nil
		}
	}
	return 0, nil
}

// holds says whether the process has this file open as lockFD.
func holds(pid int, lock os.FileInfo) bool {
	got, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, lockFD))
	return err == nil && os.SameFile(got, lock)
}
