package guest

import (
	"context"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

// board holds the boot stages and wakes those who wait for a change.
type board struct {
	clock Clock

	mu      sync.Mutex
	status  guestapi.BootStatus
	begun   map[string]time.Time
	changed chan struct{} // closed and replaced with every change
}

func newBoard(clock Clock) *board {
	b := &board{clock: clock, begun: map[string]time.Time{}, changed: make(chan struct{})}
	b.status.Version = 1
	for _, name := range guestapi.Stages() {
		b.status.Stages = append(b.status.Stages, guestapi.Stage{Name: name, Status: guestapi.StatusPending})
	}
	return b
}

// set changes a stage. A stage's time runs from its first status after pending
// to its first end.
func (b *board) set(name string, status guestapi.Status, reason string) {
	b.update(func(s *guestapi.BootStatus) { b.setStage(s, name, status, guestapi.Clip(reason)) })
}

// setHealth says whether the health checks pass, and why not.
func (b *board) setHealth(ready bool, status guestapi.Status, reason string) {
	b.update(func(s *guestapi.BootStatus) {
		s.Ready = ready
		b.setStage(s, guestapi.StageHealth, status, guestapi.Clip(reason))
	})
}

// setStopping says that the guest powers off.
func (b *board) setStopping() {
	b.update(func(s *guestapi.BootStatus) { s.Stopping, s.Ready = true, false })
}

func (b *board) stopping() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status.Stopping
}

func (b *board) update(change func(*guestapi.BootStatus)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.status)
	b.status.Version++
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) setStage(s *guestapi.BootStatus, name string, status guestapi.Status, reason string) {
	for i := range s.Stages {
		stage := &s.Stages[i]
		if stage.Name != name {
			continue
		}
		if b.begun[name].IsZero() {
			b.begun[name] = b.clock.Now()
		}
		if stage.Status == guestapi.StatusRunning || stage.Status == guestapi.StatusPending {
			stage.DurationMS = b.since(name)
		}
		stage.Status, stage.Reason = status, reason
	}
}

func (b *board) since(name string) int64 {
	return max(0, b.clock.Now().Sub(b.begun[name]).Milliseconds())
}

// snapshot returns the status and a channel that is closed at its next change.
func (b *board) snapshot() (guestapi.BootStatus, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.status
	out.Stages = append([]guestapi.Stage(nil), b.status.Stages...)
	for i := range out.Stages {
		if out.Stages[i].Status == guestapi.StatusRunning {
			out.Stages[i].DurationMS = b.since(out.Stages[i].Name)
		}
	}
	return out, b.changed
}

// wait returns the status once its version is greater than after, or when ctx
// ends, or at once when the guest powers off.
func (b *board) wait(ctx context.Context, after uint64) guestapi.BootStatus {
	for {
		status, changed := b.snapshot()
		if status.Version > after || status.Stopping {
			return status
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return status
		}
	}
}
