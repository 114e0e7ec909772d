package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

// onStop takes an ask to stop. A second one can only shorten the grace time.
func (m *monitor) onStop(ask stopAsk) error {
	if m.rec.Ended() || m.rec.StopAsked() && !ask.by.Before(m.rec.StopBy) {
		return nil
	}
	old := m.rec
	m.rec.StopBy = ask.by
	if old.State != agentv1.EnclaveState_ENCLAVE_STATE_STOPPING {
		m.rec.State, m.rec.Changed = agentv1.EnclaveState_ENCLAVE_STATE_STOPPING, m.a.cfg.Now()
		m.rec.Reason, m.rec.Text = "", ""
	}
	if err := m.a.records.Put(m.rec); err != nil {
		m.rec = old
		return unwritten(err)
	}
	m.unwritten = false
	m.drop(taskStop)
	m.next[taskStop] = time.Time{}
	return nil
}

// end stops what runs, and once nothing does, releases the claim and records the
// end. The order matters: the claim is released on proof, and that it is
// released is told last.
func (m *monitor) end(ctx context.Context) {
	m.closeGuest()
	if !m.gone {
		m.makeGone(ctx)
	}
	if m.gone && m.claimed {
		m.release(ctx)
	}
	if m.gone && !m.claimed && !m.rec.Ended() {
		m.enter(outcome{state: agentv1.EnclaveState_ENCLAVE_STATE_STOPPED})
	}
}

// makeGone works towards the proof that nothing of the enclave runs.
func (m *monitor) makeGone(ctx context.Context) {
	for _, name := range []string{taskPrepare, taskStart} {
		if t := m.tasks[name]; t != nil {
			t.cancel() // its result says what there is to stop
		}
	}
	switch {
	case m.tasks[taskPrepare] != nil || m.tasks[taskStart] != nil:
	case m.tasks[taskMode] != nil: // cards in the middle of a change of mode are nobody's
	case !m.started:
		m.gone = true
	case m.foreign || m.strange:
		m.observe(ctx)
	default:
		m.stop(ctx)
	}
}

func (m *monitor) stop(ctx context.Context) {
	if m.tasks[taskStop] != nil || m.a.cfg.Now().Before(m.next[taskStop]) {
		return
	}
	grace := m.a.cfg.Times.FailGrace
	if m.rec.StopAsked() {
		// After a restart the clock may have been set back by years: no more is left than
		// there was at the beginning.
		left, all := m.rec.StopBy.Sub(m.a.cfg.Now()), m.rec.StopBy.Sub(m.rec.Changed)
		grace = max(min(left, all), 0)
	}
	if err := m.beginRelease(ctx); err != nil {
		m.log.Warn("claim not marked as being released", "error", err)
	}
	id := m.rec.ID
	m.begin(ctx, taskStop, grace+m.a.cfg.Times.StopMargin, func(ctx context.Context) func() {
		err := m.a.cfg.Backend.Stop(ctx, id, grace)
		return func() { m.onStopped(err) }
	})
}

func (m *monitor) onStopped(err error) {
	if err == nil || errors.Is(err, enclave.ErrNotFound) {
		m.gone = true
		m.obs.Phase, m.obs.Endpoint = enclave.PhaseExited, ""
		m.conditions.clear(CodeStopStuck, m.rec.ID)
		return
	}
	m.later(taskStop, m.a.cfg.Times.Retry)
	m.log.Error("stop failed", "error", err)
	m.conditions.set(condition{code: CodeStopStuck, subject: m.rec.ID, severity: agentv1.Severity_SEVERITY_ERROR,
		text: fmt.Sprintf("the enclave can't be proved to be gone, so it keeps its claim; the agent tries again: %v", err)})
}

func (m *monitor) beginRelease(ctx context.Context) error {
	if !m.claimed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.a.cfg.Times.Call)
	defer cancel()
	if err := m.a.ledger.BeginRelease(ctx, m.rec.ID); err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return err
	}
	return nil
}

// release gives back what the enclave held.
func (m *monitor) release(ctx context.Context) {
	if m.a.cfg.Now().Before(m.next[taskRelease]) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.a.cfg.Times.Call)
	defer cancel()
	err := m.a.ledger.Release(ctx, m.rec.ID)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		m.later(taskRelease, m.a.cfg.Times.Retry)
		m.conditions.set(condition{code: CodeReleaseFailed, subject: m.rec.ID, severity: agentv1.Severity_SEVERITY_ERROR,
			text: fmt.Sprintf("the enclave is gone and its claim can't be released yet: %v", err)})
		return
	}
	m.claimed = false
	m.conditions.clear(CodeReleaseFailed, m.rec.ID)
	m.log.Info("claim released")
	wake(m.a.changed)
}
