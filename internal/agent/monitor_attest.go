package agent

import (
	"context"
	"math/rand/v2"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

// maxReattesting is how many enclaves are asked for evidence again at a time.
const maxReattesting = 2

// attest asks for evidence over a nonce of the agent's own and judges it: once the
// guest can give it, and from then on at intervals.
func (m *monitor) attest(ctx context.Context) {
	if m.boot == nil {
		return
	}
	stage, ok := m.boot.Stage(guestapi.StageEvidence)
	if !ok || stage.Status != guestapi.StatusOK {
		return
	}
	guest, spec := m.guest, m.rec.Spec
	if !m.attested {
		m.begin(ctx, taskAttest, attestTime, func(ctx context.Context) func() {
			verdict, err := m.a.evidence(ctx, guest, spec)
			return func() { m.onVerdict(verdict, err) }
		})
		return
	}
	m.begin(ctx, taskAttest, m.a.cfg.Times.Reattest+attestTime, func(ctx context.Context) func() {
		select {
		case m.a.reattesting <- struct{}{}:
			defer func() { <-m.a.reattesting }()
		case <-ctx.Done():
			return func() { m.onAgain(nil, ctx.Err()) }
		}
		asking, cancel := context.WithTimeout(ctx, attestTime)
		defer cancel()
		verdict, err := m.a.evidence(asking, guest, spec)
		return func() { m.onAgain(verdict, err) }
	})
}

func (m *monitor) onVerdict(v *attest.Verdict, err error) {
	m.a.metrics.judged(v, err)
	if err != nil {
		m.lastErr = err
		m.later(taskAttest, pollRetry)
		return
	}
	m.verdict, m.attested = v, v.Accepted
	if v.Accepted {
		m.later(taskAttest, m.reattestIn())
		return
	}
	if !m.rec.StopAsked() {
		m.fail(outcome{reason: ReasonAttestation, text: refusal(v)})
	}
}

// onAgain takes the verdict on an enclave that was accepted before. A refusal is told
// and stops nothing here: the coordinator judges for itself whether it goes on
// serving. No answer is no verdict; polling tells of a guest that is silent.
func (m *monitor) onAgain(v *attest.Verdict, err error) {
	m.later(taskAttest, m.reattestIn())
	m.a.metrics.judged(v, err)
	if err != nil {
		m.log.Warn("no evidence when asked again", "error", err)
		return
	}
	m.verdict = v
	if v.Accepted {
		m.conditions.clear(CodeAttestationFailed, m.rec.ID)
		return
	}
	m.log.Error("evidence refused when asked again", "error", v.Err())
	m.conditions.set(condition{code: CodeAttestationFailed, subject: m.rec.ID,
		severity: agentv1.Severity_SEVERITY_ERROR, text: "when asked again, " + refusal(v)})
}

// reattestIn is the interval, up to a tenth shorter or longer, so that enclaves that
// were started together are not asked together for ever.
func (m *monitor) reattestIn() time.Duration {
	d := m.a.cfg.Times.Reattest
	return d - d/10 + time.Duration(rand.Int64N(int64(d/5)+1)) //nolint:gosec // it spreads work, and keeps no secret
}
