package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Names of a monitor's tasks, and of what else it does at a time.
const (
	taskPrepare = "prepare"
	taskMode    = "mode"
	taskStart   = "start"
	taskObserve = "observe"
	taskPoll    = "poll"
	taskAttest  = "attest"
	taskStop    = "stop"
	taskRelease = "release"
	taskWrite   = "write"
	taskExit    = "exit"
)

// prepare fetches what the enclave needs and brings the GPUs to their mode, then
// lets it boot.
func (m *monitor) prepare(ctx context.Context) {
	switch {
	case !m.prepared:
		spec, digest := m.rec.Spec, m.rec.SpecDigest
		m.begin(ctx, taskPrepare, m.a.cfg.Times.Prepare+m.a.cfg.Times.Call, func(ctx context.Context) func() {
			_, err := m.a.prepare(ctx, spec, digest)
			return func() { m.onPrepared(err) }
		})
	case m.rec.Mode != "":
		m.switchMode(ctx)
	default:
		m.enter(outcome{state: agentv1.EnclaveState_ENCLAVE_STATE_BOOTING})
		m.start(ctx)
	}
}

func (m *monitor) onPrepared(err error) {
	if err != nil {
		if !m.rec.StopAsked() {
			m.fail(errorOutcome(err, enclave.ReasonPrepareFailed))
		}
		return
	}
	m.prepared = true
}

func (m *monitor) switchMode(ctx context.Context) {
	setter, ok := m.a.cfg.Inventory.(gpu.ModeSetter)
	if !ok {
		m.fail(outcome{reason: ReasonGPUMode, text: "the claimed GPUs need another mode, and this host's can't be changed by the agent"})
		return
	}
	mode := gpu.Mode(m.rec.Mode)
	m.begin(ctx, taskMode, m.a.cfg.Times.Mode, func(ctx context.Context) func() {
		wake(m.a.rescan)
		err := setter.SetMode(ctx, mode)
		wake(m.a.rescan)
		return func() { m.onMode(err) }
	})
}

func (m *monitor) onMode(err error) {
	if err != nil {
		m.fail(outcome{reason: ReasonGPUMode, text: fmt.Sprintf(
			"the GPUs could not be brought to mode %s: %v. Bring all of the host's to one mode by hand", m.rec.Mode, err)})
		return
	}
	m.log.Info("gpu mode set", "mode", m.rec.Mode)
	m.rec.Mode = ""
	m.unwritten = true
}

// start starts the VM. Whatever comes of it, it is known afterwards whether there
// is something to stop.
func (m *monitor) start(ctx context.Context) {
	in := enclave.Instance{ID: m.rec.ID, Spec: m.rec.Spec, GPUs: m.rec.GPUs}
	m.begin(ctx, taskStart, m.a.cfg.Times.Start, func(ctx context.Context) func() {
		err := m.a.cfg.Backend.Start(ctx, in)
		if err == nil {
			return m.onStarted
		}
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), listDeadline)
		defer cancel()
		obs, remains := m.a.cfg.Backend.Get(look, in.ID)
		return func() { m.onStartFailed(err, obs, remains) }
	})
}

func (m *monitor) onStarted() {
	m.started, m.activate = true, true
	m.next[taskObserve] = time.Time{}
}

func (m *monitor) onStartFailed(err error, obs enclave.Observed, remains error) {
	switch {
	case remains == nil:
		m.started, m.obs = true, obs
	case !errors.Is(remains, enclave.ErrNotFound):
		m.started = true // unknown: the stop that follows finds out
	}
	if !m.rec.StopAsked() {
		m.fail(errorOutcome(err, enclave.ReasonStartFailed))
	}
}

// activateClaim records that the enclave was started.
func (m *monitor) activateClaim(ctx context.Context) {
	if !m.activate || !m.claimed {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.a.cfg.Times.Call)
	defer cancel()
	err := m.a.ledger.Activate(ctx, m.rec.ID)
	if err == nil || errors.Is(err, ledger.ErrReleasing) || errors.Is(err, ledger.ErrNotFound) {
		m.activate = false
		return
	}
	m.log.Warn("claim not made active yet", "error", err)
}

// observe asks the backend how the VM is, when that is due.
func (m *monitor) observe(ctx context.Context) {
	id := m.rec.ID
	m.begin(ctx, taskObserve, listDeadline, func(ctx context.Context) func() {
		obs, err := m.a.cfg.Backend.Get(ctx, id)
		return func() { m.onObserved(obs, err) }
	})
}

func (m *monitor) onObserved(obs enclave.Observed, err error) {
	m.later(taskObserve, m.a.cfg.Times.Observe)
	switch {
	case err == nil:
		m.obs = obs
		m.conditions.clear(CodeBackendUnavailable, m.rec.ID)
	case errors.Is(err, enclave.ErrNotFound):
		m.obs, m.gone = enclave.Observed{}, true
		if !m.rec.StopAsked() && !m.rec.Ended() {
			m.fail(outcome{reason: ReasonVanished, text: "the host knows nothing of this enclave any more: " +
				"somebody removed it past the agent"})
		}
	default:
		m.conditions.set(condition{code: CodeBackendUnavailable, subject: m.rec.ID, severity: agentv1.Severity_SEVERITY_ERROR,
			text: fmt.Sprintf("the backend can't say how the VM is: %v", err)})
	}
}

// lastWords is how long a guest's last answer is waited for once its VM ended:
// it may say why.
const lastWords = time.Second

// judgeExit fails an enclave whose VM ended without being asked to.
func (m *monitor) judgeExit() {
	if m.obs.Phase != enclave.PhaseExited {
		return
	}
	m.gone = true
	if m.rec.StopAsked() || m.rec.Ended() {
		return
	}
	now := m.a.cfg.Now()
	if m.exitSeen.IsZero() {
		m.exitSeen = now
	}
	if m.tasks[taskPoll] != nil && now.Sub(m.exitSeen) < lastWords {
		m.later(taskExit, lastWords)
		return
	}
	m.fail(exitOutcome(m.obs.Exit, m.boot))
}
