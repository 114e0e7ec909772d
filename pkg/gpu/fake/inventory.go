package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Inventory is a host without hardware. It implements gpu.Inventory and
// gpu.ModeSetter.
type Inventory struct {
	path string // empty for a host that no file describes
	now  func() time.Time
	wait func(context.Context, time.Duration) error

	mu        sync.Mutex // guards all below
	text      []byte     // what the file held when it was last parsed
	host      Host
	mode      gpu.Mode // of the cards that have none of their own
	stuck     gpu.Mode // of every second card after a failed change; else empty
	switching bool
	broken    *gpu.Condition // why the file's newest contents are not in force
}

var (
	_ gpu.Inventory  = (*Inventory)(nil)
	_ gpu.ModeSetter = (*Inventory)(nil)
)

// Option changes how an inventory sees time.
type Option func(*Inventory)

// WithClock replaces the clock and the wait of a change of mode. Wait returns
// early with the context's error.
func WithClock(now func() time.Time, wait func(context.Context, time.Duration) error) Option {
	return func(i *Inventory) { i.now, i.wait = now, wait }
}

// New returns the inventory of a host. A bad description gives ErrHost.
func New(h Host, options ...Option) (*Inventory, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	i := &Inventory{host: h, mode: h.Mode, now: time.Now, wait: wait}
	for _, option := range options {
		option(i)
	}
	return i, nil
}

// Open returns the inventory of the host that the file at path describes now
// and as it changes. See Parse for the format.
func Open(path string, options ...Option) (*Inventory, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	h, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	i, err := New(h, options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	i.path, i.text = path, text
	return i, nil
}

// Snapshot implements gpu.Inventory. If the file has become unreadable or
// wrong, the last good contents stay in force, with a condition
// "fake-host-file".
func (i *Inventory) Snapshot(ctx context.Context) (gpu.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return gpu.Snapshot{}, fmt.Errorf("list fake GPUs: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reload()
	s := i.cards()
	s.At = i.now()
	if i.broken != nil {
		s.Conditions = append(s.Conditions, *i.broken)
	}
	return s, nil
}

// reload takes over the file's contents if they changed.
func (i *Inventory) reload() {
	if i.path == "" {
		return
	}
	text, err := read(i.path)
	if err == nil && bytes.Equal(text, i.text) {
		i.broken = nil
		return
	}
	var h Host
	if err == nil {
		h, err = Parse(text)
	}
	if err != nil {
		if i.broken == nil {
			i.broken = &gpu.Condition{Code: "fake-host-file", Severity: gpu.SeverityWarning, Since: i.now()}
		}
		i.broken.Text = fmt.Sprintf("%s is not usable, its last good contents stay in force: %v", i.path, err)
		return
	}
	if h.Mode != i.host.Mode {
		i.mode, i.stuck = h.Mode, ""
	}
	i.host, i.text, i.broken = h, text, nil
}

// read reads at most one byte more than a description may have.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open fake host file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read fake host file: %w", err)
	}
	return text, nil
}

// wait is the default wait: until the time is over or ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
