package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
)

// FS is the filesystem under a ledger.
type FS interface {
	atomicfile.FS
	// Lock takes the folder for this process until the closer is closed; it
	// makes the folder if need be and removes what dead writers left. A folder
	// that another process has gives ErrInUse.
	Lock(dir string) (io.Closer, error)
	// ReadFile returns at most limit bytes of a file. A file that doesn't
	// exist gives fs.ErrNotExist.
	ReadFile(path string, limit int64) ([]byte, error)
}

// Disk is the real filesystem.
type Disk struct{ atomicfile.OS }

// Lock implements FS with flock on a file in the folder.
func (Disk) Lock(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ledger folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "ledger.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err == nil {
		err = atomicfile.Clean(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// ReadFile implements FS.
func (Disk) ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, limit))
	return content, errors.Join(err, f.Close())
}
