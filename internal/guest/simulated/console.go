package simulated

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// maxConsole is how large the console log grows before it is set aside; the one
// set aside before it is dropped.
const maxConsole = 4 << 20

// console is the enclave's console: a bounded log in its folder.
type console struct {
	dir   guestdir.Dir
	limit int64
	// stdio makes the process's standard output and error the console too, so
	// that a panic is found there.
	stdio bool

	mu   sync.Mutex
	file *os.File
	size int64
}

func openConsole(dir guestdir.Dir, limit int64, stdio bool) (*console, error) {
	c := &console{dir: dir, limit: limit, stdio: stdio}
	err := c.open()
	return c, err
}

func (c *console) open() error {
	f, err := os.OpenFile(c.dir.Path(guestdir.ConsoleFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	c.file, c.size = f, info.Size()
	if !c.stdio {
		return nil
	}
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return fmt.Errorf("make fd %d the console: %w", fd, err)
		}
	}
	return nil
}

// Write implements io.Writer.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size > 0 && c.size+int64(len(b)) > c.limit {
		if err := c.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := c.file.Write(b)
	c.size += int64(n)
	return n, err
}

func (c *console) rotate() error {
	if err := os.Rename(c.dir.Path(guestdir.ConsoleFile), c.dir.Path(guestdir.OldConsole)); err != nil {
		return fmt.Errorf("set the console aside: %w", err)
	}
	old := c.file
	if err := c.open(); err != nil {
		return err
	}
	return old.Close()
}

// Close closes the file.
func (c *console) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Close()
}
