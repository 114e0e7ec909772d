package fake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave"
)

// Stop implements enclave.Backend.
func (b *Backend) Stop(ctx context.Context, id string, grace time.Duration) error {
	t, err := b.stopping(id)
	if err != nil || t == nil {
		return err
	}
	if err := t.stop(max(0, grace)); err != nil {
		return err
	}
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop enclave %s: %w", id, ctx.Err())
	case <-b.life.Done():
		return enclave.ErrClosed
	}
}

// stopping returns the running enclave, or nil if it has exited.
func (b *Backend) stopping(id string) (*tracked, error) {
	there, err := b.exists(id)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("enclave %s: %w", id, enclave.ErrNotFound)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, enclave.ErrClosed
	}
	if settled, err := b.adopt(id); !settled {
		return nil, fmt.Errorf("stop enclave %s: %w", id, err)
	}
	return b.tracked[id], nil
}

// Remove implements enclave.Backend.
func (b *Backend) Remove(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	there, err := b.exists(id)
	if err != nil || !there {
		return err
	}
	if err := b.remove(id); err != nil {
		return fmt.Errorf("remove enclave %s: %w", id, err)
	}
	b.changed(id)
	return nil
}

// remove renames the folder first: half of it must not look like an enclave.
func (b *Backend) remove(id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	running, err := b.runsLocked(id)
	if err != nil {
		return err
	}
	if running {
		return enclave.ErrRunning
	}
	_ = b.files.Remove(string(b.dirOf(id))) // it was not watched, if an earlier backend saw its end
	gone := filepath.Join(b.cfg.Dir, ".removed-"+id)
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(string(b.dirOf(id)), gone); err != nil {
		return err
	}
	return errors.Join(syncDir(b.cfg.Dir), os.RemoveAll(gone))
}
