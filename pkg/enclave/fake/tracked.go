package fake

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// tracked is an enclave whose guest runs, and whose end is waited for.
type tracked struct {
	id   string
	dir  guestdir.Dir
	life life
	done chan struct{} // closed once it is gone and its end is recorded

	mu     sync.Mutex
	killer *time.Timer // set by the first stop
	killAt time.Time
	killed string // why it was killed
}

// stop presses the power button and sees to the kill after grace, or earlier if
// an earlier stop said so.
func (t *tracked) stop(grace time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := time.Now().Add(grace)
	if t.killer != nil && !at.Before(t.killAt) {
		return nil
	}
	t.killAt = at
	if t.killer == nil {
		t.killer = time.AfterFunc(grace, func() { t.kill(grace) })
		if err := t.life.powerOff(); err != nil && !errors.Is(err, errDetached) {
			return fmt.Errorf("press the power button of %s: %w", t.id, err)
		}
		return nil
	}
	t.killer.Stop()
	t.killer = time.AfterFunc(grace, func() { t.kill(grace) })
	return nil
}

func (t *tracked) kill(grace time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.killed = fmt.Sprintf("it did not power off within %s and was killed", grace)
	_ = t.life.kill() // the process is gone, or can't be reached: its end tells
}

// await waits for the end and records it. It returns false if the backend let go.
func (t *tracked) await(now func() time.Time) (bool, error) {
	how, err := t.life.wait()
	if errors.Is(err, errDetached) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.killer != nil {
		t.killer.Stop()
	}
	if _, err := t.dir.ReadExit(); !errors.Is(err, fs.ErrNotExist) {
		return true, nil // the guest recorded it; a damaged record is shown as such
	}
	exit := enclave.Exit{Reason: enclave.ReasonDied, Text: how, Time: now()}
	switch {
	case t.killed != "":
		exit.Reason, exit.Text = enclave.ReasonKilled, t.killed
	case t.killer != nil: // pressed so early that no guest was there to hear it
		exit.Reason, exit.Text = enclave.ReasonPoweredOff, "told to power off, "+how
	}
	return true, t.dir.WriteExit(exit)
}

// letGo stops the kill that a stop has set, and detaches.
func (t *tracked) letGo() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.killer != nil {
		t.killer.Stop()
	}
	t.life.detach()
}
