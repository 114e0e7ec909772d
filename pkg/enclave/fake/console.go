package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// maxHistory is how much of each console file is read: the newest bytes.
const maxHistory = 8 << 20

// tail is a reader of an enclave's console.
type tail struct {
	backend *Backend
	id      string
	dir     guestdir.Dir
	follow  bool
	wake    chan struct{}   // capacity 1: there may be more
	ctx     context.Context //nolint:containedctx // a reader's life is its caller's
	cancel  context.CancelFunc

	mu      sync.Mutex
	history []byte
	file    *os.File
}

// Console implements enclave.Backend.
func (b *Backend) Console(ctx context.Context, id string, opts enclave.ConsoleOptions) (io.ReadCloser, error) {
	there, err := b.exists(id)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("enclave %s: %w", id, enclave.ErrNotFound)
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &tail{
		backend: b, id: id, dir: b.dirOf(id), follow: opts.Follow,
		wake: make(chan struct{}, 1), ctx: ctx, cancel: cancel,
	}
	b.mu.Lock()
	b.tails[t] = true
	b.mu.Unlock()
	if err := t.load(opts.TailLines); err != nil {
		return nil, errors.Join(fmt.Errorf("console of %s: %w", id, err), t.Close())
	}
	return t, nil
}

func (b *Backend) wakeTails(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for t := range b.tails {
		if t.id == id {
			select {
			case t.wake <- struct{}{}:
			default:
			}
		}
	}
}

// load reads what there is, and leaves the current file open behind it.
func (t *tail) load(lines int) error {
	old, oldFile, err := readNewest(t.dir.Path(guestdir.OldConsole))
	if err != nil {
		return err
	}
	if oldFile != nil {
		if err := oldFile.Close(); err != nil {
			return err
		}
	}
	now, file, err := readNewest(t.dir.Path(guestdir.ConsoleFile))
	if err != nil {
		return err
	}
	t.file, t.history = file, lastLines(append(old, now...), lines)
	return nil
}

// readNewest reads the last bytes of a file, which may be missing.
func readNewest(path string) ([]byte, *os.File, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if _, err := f.Seek(max(0, info.Size()-maxHistory), io.SeekStart); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxHistory))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return b, f, nil
}

// lastLines returns the last n lines; all of them if n is 0.
func lastLines(b []byte, n int) []byte {
	if n <= 0 {
		return b
	}
	at := len(b)
	if bytes.HasSuffix(b, []byte("\n")) {
		at--
	}
	for range n {
		at = bytes.LastIndexByte(b[:at], '\n')
		if at < 0 {
			return b
		}
	}
	return b[at+1:]
}

// Read implements io.Reader.
func (t *tail) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if err := t.ctx.Err(); err != nil {
			return 0, err
		}
		if len(t.history) > 0 {
			n := copy(p, t.history)
			t.history = t.history[n:]
			return n, nil
		}
		if !t.follow {
			return 0, io.EOF
		}
		running, err := t.backend.runs(t.id) // before the read: what is written at the end is read
		if err != nil {
			return 0, err
		}
		if n, err := t.readFile(p); n > 0 || err != nil {
			return n, err
		}
		if !running {
			return 0, io.EOF
		}
		select {
		case <-t.wake:
		case <-t.ctx.Done():
		case <-t.backend.life.Done():
			return 0, enclave.ErrClosed
		}
	}
}

// readFile reads on in the current file, or in the one that took its place. It
// returns 0 and nil if there is nothing.
func (t *tail) readFile(p []byte) (int, error) {
	for {
		if t.file != nil {
			if n, err := t.file.Read(p); n > 0 || !errors.Is(err, io.EOF) {
				return n, err
			}
		}
		next, err := t.rotated()
		if err != nil || next == nil {
			return 0, err
		}
		if n, err := t.finish(p); n > 0 || err != nil {
			return n, errors.Join(err, next.Close())
		}
		t.file = next
	}
}

// finish reads what was written to the file before another took its place, and
// closes it if there was nothing.
func (t *tail) finish(p []byte) (int, error) {
	if t.file == nil {
		return 0, nil
	}
	if n, err := t.file.Read(p); n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	err := t.file.Close()
	t.file = nil
	return 0, err
}

// rotated opens the console's file if it is another than the one being read.
func (t *tail) rotated() (*os.File, error) {
	path := t.dir.Path(guestdir.ConsoleFile)
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if t.file != nil {
		was, err := t.file.Stat()
		if err != nil || os.SameFile(was, now) {
			return nil, err
		}
	}
	if !now.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}

// Close implements io.Closer.
func (t *tail) Close() error {
	t.cancel()
	t.backend.mu.Lock()
	delete(t.backend.tails, t)
	t.backend.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	t.file = nil
	return err
}
