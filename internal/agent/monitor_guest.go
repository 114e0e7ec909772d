package agent

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

// Pauses between questions to a guest, so that no guest keeps the agent busy.
const (
	// pollGap follows an answer with news, pollIdle one without that came early.
	pollGap  = 50 * time.Millisecond
	pollIdle = time.Second
	// pollRetry follows a question that was not answered.
	pollRetry = 500 * time.Millisecond
	// attestTime is how long evidence may take: GPUs are asked one by one.
	attestTime = 30 * time.Second
)

// follow watches over a VM that was started.
func (m *monitor) follow(ctx context.Context) {
	m.activateClaim(ctx)
	m.observe(ctx)
	if m.strange || m.foreign || m.obs.Phase == enclave.PhaseExited {
		return
	}
	if m.obs.Endpoint != "" && m.dial() {
		m.poll(ctx)
		m.attest(ctx)
	}
	m.judgeGuest()
	m.judgeTime()
}

// dial makes a client of the guest at its endpoint.
func (m *monitor) dial() bool {
	if m.guest != nil && m.endpoint == m.obs.Endpoint {
		return true
	}
	m.closeGuest()
	guest, err := m.a.cfg.Dial(m.obs.Endpoint)
	if err != nil {
		m.lastErr = err
		return false
	}
	m.guest, m.endpoint = guest, m.obs.Endpoint
	return true
}

func (m *monitor) closeGuest() {
	if m.guest != nil {
		m.guest.Close()
		m.guest = nil
	}
}

// poll asks for the boot status, and waits at the guest for news of it.
func (m *monitor) poll(ctx context.Context) {
	guest, after, wait := m.guest, uint64(0), time.Duration(0)
	if m.boot != nil && m.silent.IsZero() {
		after, wait = m.boot.Version, m.a.cfg.Times.Poll
	}
	asked := m.a.cfg.Now()
	m.begin(ctx, taskPoll, wait+m.a.cfg.Times.Call, func(ctx context.Context) func() {
		status, err := guest.Boot(ctx, after, wait)
		return func() { m.onBoot(status, err, asked) }
	})
}

func (m *monitor) onBoot(status *guestapi.BootStatus, err error, asked time.Time) {
	now := m.a.cfg.Now()
	if err != nil {
		m.lastErr = err
		m.later(taskPoll, pollRetry)
		if m.silent.IsZero() {
			m.silent = asked
		}
		return
	}
	news := m.boot == nil || status.Version > m.boot.Version
	switch {
	case now.Sub(asked) >= m.a.cfg.Times.Poll/2:
	case news:
		m.later(taskPoll, pollGap)
	default:
		m.later(taskPoll, pollIdle)
	}
	m.boot, m.silent, m.lastErr = status, time.Time{}, nil
	m.conditions.clear(CodeGuestSilent, m.rec.ID)
	if m.rec.State == agentv1.EnclaveState_ENCLAVE_STATE_BOOTING {
		m.enter(outcome{state: agentv1.EnclaveState_ENCLAVE_STATE_ATTESTING})
	}
}

// evidence asks a guest for evidence over a fresh nonce and judges it.
func (a *Agent) evidence(ctx context.Context, guest Guest, spec *agentv1.EnclaveSpec) (*attest.Verdict, error) {
	var nonce [32]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("make a nonce: %w", err)
	}
	raw, key, err := guest.Attestation(ctx, nonce)
	if err != nil {
		return nil, err
	}
	return a.judge(ctx, raw, nonce, key, spec), nil
}

// judgeGuest draws the state from what the guest says, once it is attested, and
// from how long it has said nothing. A guest that says it failed is believed
// before that: it can only harm itself.
func (m *monitor) judgeGuest() {
	if m.rec.StopAsked() || m.rec.Ended() {
		return
	}
	if m.isSilent() {
		return
	}
	if m.boot == nil || !m.silent.IsZero() {
		return
	}
	o := guestOutcome(m.boot, m.rec.WasHealthy)
	if m.attested || o.state == agentv1.EnclaveState_ENCLAVE_STATE_FAILED {
		m.enter(o)
	}
}

// isSilent says whether the guest has been silent for too long, and reports it.
func (m *monitor) isSilent() bool {
	silent := m.a.cfg.Now().Sub(m.silent)
	if m.silent.IsZero() || silent < m.a.cfg.Times.Silent {
		return false
	}
	text := fmt.Sprintf("the guest does not answer: %v", m.lastErr)
	m.conditions.set(condition{code: CodeGuestSilent, subject: m.rec.ID, since: m.silent,
		severity: agentv1.Severity_SEVERITY_ERROR, hold: m.a.cfg.Times.Silent / 2, text: text})
	if m.rec.State == agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY {
		m.enter(outcome{agentv1.EnclaveState_ENCLAVE_STATE_UNHEALTHY, CodeGuestSilent, text})
	}
	return true
}

// judgeTime fails an enclave that has not proved itself in time.
func (m *monitor) judgeTime() {
	if m.attested || m.rec.State != agentv1.EnclaveState_ENCLAVE_STATE_BOOTING && m.rec.State != agentv1.EnclaveState_ENCLAVE_STATE_ATTESTING {
		return
	}
	begun := m.obs.StartTime
	if begun.IsZero() {
		begun = m.rec.Changed
	}
	limit := m.a.cfg.Times.boot(m.rec.Spec)
	left := begun.Add(limit).Sub(m.a.cfg.Now())
	if left > 0 {
		m.later(taskExit, left)
		return
	}
	text := fmt.Sprintf("the guest gave no evidence within %s", limit)
	if m.lastErr != nil {
		text += fmt.Sprintf("; the last try: %v", m.lastErr)
	}
	m.fail(outcome{reason: ReasonBootTimeout, text: text + "; its console log may say why"})
}
