package agent

import (
	"context"
	"fmt"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/internal/agent/records"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// listDeadline bounds one question to the backend.
const listDeadline = 30 * time.Second

// adopt compares records and ledger with what the backend says runs here, and
// takes it all over. Until that has succeeded the agent answers for no enclave; nor
// before it has looked at the GPUs and told of them, for a host that is ready and
// tells of none free would be taken for a full one.
func (a *Agent) adopt(ctx context.Context) error {
	for {
		err := a.adoptOnce(ctx)
		if err == nil {
			select {
			case <-a.looked:
			case <-ctx.Done():
				return ctx.Err()
			}
			a.conditions.clear(CodeBackendUnavailable, "")
			a.conditions.clear(CodeStarting, "")
			a.host.publish(func() *agentv1.Host { return a.facts(ctx) })
			close(a.adopted)
			wake(a.changed)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.cfg.Log.Error("adoption failed", "error", err)
		a.conditions.set(condition{
			code: CodeBackendUnavailable, severity: agentv1.Severity_SEVERITY_ERROR,
			text: fmt.Sprintf("the agent can't learn what runs here and tries again: %v", err),
		})
		wake(a.changed)
		if !pause(ctx, a.cfg.Times.Retry) {
			return ctx.Err()
		}
	}
}

func (a *Agent) adoptOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listDeadline)
	defer cancel()
	list, err := a.cfg.Backend.List(ctx)
	if err != nil {
		return fmt.Errorf("list enclaves: %w", err)
	}
	before, err := a.ledger.List(ctx)
	if err != nil {
		return err
	}
	if err := a.reconcileWith(ctx, list); err != nil {
		return err
	}
	claims, err := a.claims(ctx)
	if err != nil {
		return err
	}
	if err := a.dropStrayClaims(ctx, list, claims); err != nil {
		return err
	}
	seen := map[string]*enclave.Observed{}
	for i := range list {
		seen[list[i].ID] = &list[i]
	}
	rebooted := a.rebooted(before)
	for _, rec := range a.restart {
		if rebooted[rec.ID] && !rec.Ended() && !running(seen[rec.ID]) {
			rec = a.lostToReboot(rec)
		}
		a.take(rec, seen[rec.ID], claims)
		delete(seen, rec.ID)
	}
	for i := range list {
		if obs := seen[list[i].ID]; obs != nil {
			a.take(stranger(*obs, a.cfg.Now()), obs, claims)
		}
	}
	return nil
}

func running(obs *enclave.Observed) bool { return obs != nil && obs.Phase == enclave.PhaseRunning }

// rebooted tells of which claims were last true in an earlier boot of the host.
func (a *Agent) rebooted(claims []ledger.Claim) map[string]bool {
	out := map[string]bool{}
	for _, c := range claims {
		out[c.EnclaveID] = c.BootID != a.cfg.BootID
	}
	return out
}

// lostToReboot ends the record of an enclave that a reboot ended.
func (a *Agent) lostToReboot(rec records.Record) records.Record {
	rec.State, rec.Changed = agentv1.EnclaveState_ENCLAVE_STATE_FAILED, a.cfg.Now()
	rec.Reason, rec.Text = ReasonHostRebooted, "the host rebooted, which ended the enclave"
	if rec.StopAsked() {
		rec.State = agentv1.EnclaveState_ENCLAVE_STATE_STOPPED
	}
	if err := a.records.Put(rec); err != nil {
		a.cfg.Log.Error("record unwritten", "enclave", rec.ID, "error", err)
	}
	return rec
}

// reconcile compares the ledger with what the backend says now.
func (a *Agent) reconcile(ctx context.Context) error {
	list, err := a.cfg.Backend.List(ctx)
	if err != nil {
		return fmt.Errorf("list enclaves: %w", err)
	}
	return a.reconcileWith(ctx, list)
}

func (a *Agent) reconcileWith(ctx context.Context, list []enclave.Observed) error {
	var observed []ledger.Observed
	for _, o := range list {
		if o.Phase != enclave.PhaseRunning {
			continue
		}
		one := ledger.Observed{
			EnclaveID: o.ID, SpecDigest: o.SpecDigest, ClusterID: o.ClusterID,
			CPUs: int(o.Spec.GetCpus()), MemoryMiB: int64(o.Spec.GetMemoryMib()), //nolint:gosec // bounded by the proto's rules
			Text: "enclave " + o.ID + " runs",
		}
		for _, g := range o.GPUs {
			one.GPUs = append(one.GPUs, gpu.BDF(g))
		}
		observed = append(observed, one)
	}
	report, err := a.ledger.Reconcile(ctx, observed)
	if err != nil {
		return err
	}
	a.cfg.Log.Info("ledger compared", "kept", len(report.Kept), "adopted", len(report.Adopted),
		"released", len(report.Released), "missing", len(report.Missing), "quarantined", len(report.Quarantined))
	return nil
}

// claims returns the claims by enclave.
func (a *Agent) claims(ctx context.Context) (map[string]ledger.Claim, error) {
	list, err := a.ledger.List(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]ledger.Claim{}
	for _, c := range list {
		out[c.EnclaveID] = c
	}
	return out, nil
}

// dropStrayClaims releases claims for which there is neither a record nor an
// enclave: the agent died between claim and record, before it touched anything.
func (a *Agent) dropStrayClaims(ctx context.Context, list []enclave.Observed, claims map[string]ledger.Claim) error {
	known := map[string]bool{}
	for _, r := range a.restart {
		known[r.ID] = true
	}
	for _, o := range list {
		known[o.ID] = true
	}
	for id := range claims {
		if known[id] {
			continue
		}
		a.cfg.Log.Warn("claim without record or enclave released", "enclave", id)
		if err := a.ledger.Release(ctx, id); err != nil {
			return err
		}
		delete(claims, id)
	}
	return nil
}

// stranger makes a record of an enclave that has none.
func stranger(o enclave.Observed, now time.Time) records.Record {
	rec := records.Record{
		ID: o.ID, ClusterID: o.ClusterID, Spec: o.Spec, SpecDigest: o.SpecDigest, GPUs: o.GPUs,
		State: agentv1.EnclaveState_ENCLAVE_STATE_BOOTING, Reason: CodeNoRecord,
		Text:    "the agent had no record of this enclave and follows what it finds",
		Created: o.StartTime, Changed: now,
	}
	if o.Reason != "" {
		rec.State, rec.Reason, rec.Text = agentv1.EnclaveState_ENCLAVE_STATE_UNHEALTHY, o.Reason, o.Text
	}
	if o.Phase != enclave.PhaseRunning {
		rec.State = agentv1.EnclaveState_ENCLAVE_STATE_FAILED
	}
	return rec
}

// take takes an enclave over as it was recorded and as it is.
func (a *Agent) take(rec records.Record, obs *enclave.Observed, claims map[string]ledger.Claim) {
	claim, claimed := claims[rec.ID]
	m := newMonitor(a, rec, claimed)
	if obs != nil {
		m.started, m.obs = true, *obs
	} else {
		// Not started for certain: it never reached the backend, in this boot.
		m.started = !claimed || claim.Phase != ledger.PhaseClaimed
	}
	m.strange = rec.Spec == nil && obs != nil
	m.activate = claimed && claim.Phase == ledger.PhaseClaimed && running(obs)
	if obs != nil && rec.State == agentv1.EnclaveState_ENCLAVE_STATE_PREPARING {
		m.rec.State = agentv1.EnclaveState_ENCLAVE_STATE_BOOTING
	}
	followed := a.fence.Current().Cluster
	m.foreign = followed != "" && rec.ClusterID != followed
	if m.foreign && running(obs) {
		a.conditions.set(condition{
			code: CodeForeign, subject: rec.ID, severity: agentv1.Severity_SEVERITY_WARNING,
			text: fmt.Sprintf("enclave %s belongs to cluster %q, which this agent does not follow: it is left alone", rec.ID, rec.ClusterID),
		})
	}
	m.publish()
	if rec.Ended() && !claimed && !running(obs) {
		close(m.done)
		return
	}
	a.watchOver(m)
}
