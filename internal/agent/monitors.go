package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// watchOver runs a monitor until its enclave has ended or the agent does.
func (a *Agent) watchOver(m *monitor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil || a.running.Err() != nil {
		close(m.done) // the agent stops: its next run takes the enclave up
		return
	}
	ctx := a.running
	a.monitors[m.rec.ID] = m
	a.ended.Go(func() {
		m.run(ctx)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.monitors[m.rec.ID] == m {
			delete(a.monitors, m.rec.ID)
		}
	})
}

// monitor returns the monitor of an enclave that has not ended, or nil.
func (a *Agent) monitor(id string) *monitor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.monitors[id]
}

// followBackend passes the backend's events on to the monitors, once what runs here is
// known: a watch begins with all that exists then, so that nothing that appeared
// meanwhile is missed.
func (a *Agent) followBackend(ctx context.Context) error {
	select {
	case <-a.adopted:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		if err := a.followOnce(ctx); err != nil && ctx.Err() == nil {
			a.cfg.Log.Warn("backend events lost", "error", err)
		}
		if !pause(ctx, a.cfg.Times.Retry) {
			return ctx.Err()
		}
	}
}

func (a *Agent) followOnce(ctx context.Context) error {
	events, err := a.cfg.Backend.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch the backend: %w", err)
	}
	for e := range events {
		if m := a.monitor(e.ID); m != nil {
			wake(m.news)
			continue
		}
		if a.board.get(e.ID) == nil {
			a.adoptStranger(ctx, e.ID)
		}
	}
	return nil
}

// adoptStranger lists an enclave that appeared without this agent's doing.
func (a *Agent) adoptStranger(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	done, err := a.turn(ctx)
	if err != nil {
		return
	}
	defer done()
	obs, err := a.cfg.Backend.Get(ctx, id)
	if err != nil || a.board.get(id) != nil {
		return
	}
	if err := a.reconcile(ctx); err != nil {
		a.cfg.Log.Error("a stranger can't be accounted for", "enclave", id, "error", err)
	}
	claims, err := a.claims(ctx)
	if err != nil {
		a.cfg.Log.Error("a stranger can't be accounted for", "enclave", id, "error", err)
		return
	}
	a.take(stranger(obs, a.cfg.Now()), &obs, claims)
}

// ended says whether a state is an end.
func ended(s agentv1.EnclaveState) bool {
	return s == agentv1.EnclaveState_ENCLAVE_STATE_STOPPED || s == agentv1.EnclaveState_ENCLAVE_STATE_FAILED
}

// stateName is a state as people read it.
func stateName(s agentv1.EnclaveState) string {
	return strings.TrimPrefix(s.String(), "ENCLAVE_STATE_")
}
