package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// scanDeadline bounds one look at the GPUs; an inventory keeps to its own bounds
// well within it.
const scanDeadline = 30 * time.Second

// scan looks at the GPUs at intervals and when asked to, and keeps what it saw.
func (a *Agent) scan(ctx context.Context) error {
	ticker := time.NewTicker(a.cfg.Times.Inventory)
	defer ticker.Stop()
	looked := sync.OnceFunc(func() { close(a.looked) })
	for {
		if s, err := a.look(ctx); err == nil {
			a.seen.Store(&s)
			a.conditions.clear(CodeInventoryFailed, "")
		} else if ctx.Err() == nil {
			a.conditions.set(condition{
				code: CodeInventoryFailed, severity: agentv1.Severity_SEVERITY_ERROR, hold: a.cfg.Times.Inventory,
				text: fmt.Sprintf("the GPUs can't be listed, what was last seen is told: %v", err),
			})
		}
		looked()
		wake(a.changed)
		select {
		case <-ticker.C:
		case <-a.rescan:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *Agent) look(ctx context.Context) (gpu.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, scanDeadline)
	defer cancel()
	s, err := a.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return s, fmt.Errorf("look at the GPUs: %w", err)
	}
	return s, nil
}

// followXids has the GPUs looked at when one of them reports an error.
func (a *Agent) followXids(ctx context.Context) error {
	w, ok := a.cfg.Inventory.(gpu.Watcher)
	if !ok {
		return nil
	}
	for {
		err := w.Watch(ctx, func(e gpu.Event) {
			a.cfg.Log.Warn("gpu event", "gpu", e.BDF.String(), "xid", e.Xid, "sick", e.Sick)
			wake(a.rescan)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.cfg.Log.Debug("gpu events not to be had", "error", err)
		if !pause(ctx, time.Minute) {
			return ctx.Err()
		}
	}
}

// pause waits; it returns false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
