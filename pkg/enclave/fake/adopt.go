package fake

import (
	"context"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// A guest that is just ending can hold its lock a moment longer than it can be
// found; one whose lock somebody else took is never found. Adoption is tried
// again, ever more slowly.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// adoptAll takes up what runs in the folder.
func (b *Backend) adoptAll() error {
	ids, err := b.ids()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if settled, err := b.adopt(id); !settled {
			b.cfg.Log.Warn("enclave not adopted yet", "enclave", id, "error", err)
			b.routines.Go(func() { b.adoptLater(b.life, id) })
		}
	}
	return nil
}

// adopt takes up one enclave if its guest runs. It is settled if the guest is
// tracked or gone. The caller holds mu.
func (b *Backend) adopt(id string) (settled bool, err error) {
	dir := b.dirOf(id)
	running, err := b.runsLocked(id)
	if err != nil {
		return false, err
	}
	if !running || b.tracked[id] != nil {
		return true, nil
	}
	if err := b.files.Add(string(dir)); err != nil {
		return false, fmt.Errorf("watch %s: %w", dir, err)
	}
	life, err := adopt(dir)
	if err != nil {
		held, lockErr := lockHeld(dir.Path(guestdir.LockFile))
		return lockErr == nil && !held, err // it may have ended meanwhile
	}
	b.cfg.Log.Info("enclave adopted", "enclave", id)
	b.track(id, life)
	return true, nil
}

// adoptLater tries again until the guest is tracked or gone.
func (b *Backend) adoptLater(ctx context.Context, id string) {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		b.mu.Lock()
		settled := b.closed
		if !settled {
			settled, _ = b.adopt(id) // told when it was first tried
		}
		b.mu.Unlock()
		if settled {
			b.changed(id)
			return
		}
	}
}
