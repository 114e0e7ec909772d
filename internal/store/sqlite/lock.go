package sqlite

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/casemate-dev/casemate/internal/store"
)

// acquire takes the lock that keeps a second process from writing the same
// store. It lies on a file of its own, because SQLite drops all POSIX locks on
// the database when any descriptor of it is closed. The kernel releases it when
// the process dies, however it dies.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the store's lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s is held; stop the other process, or give this one another path", store.ErrLocked, path)
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}
