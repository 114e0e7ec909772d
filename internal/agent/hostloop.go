package agent

import (
	"context"
	"fmt"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// selfCheckDeadline bounds what a pass of the host's loop asks of the rest of
// the agent before it calls the pass good.
const selfCheckDeadline = 10 * time.Second

// tell is the host's loop: it publishes what is told of the host, after every
// change and at intervals. A pass that finds the rest of the agent alive gives a
// pulse.
func (a *Agent) tell(ctx context.Context) error {
	ticker := time.NewTicker(a.cfg.Times.Host)
	defer ticker.Stop()
	for {
		select {
		case <-a.changed:
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		a.checkTEE()
		a.host.publish(func() *agentv1.Host { return a.facts(ctx) })
		if err := a.selfCheck(ctx); err != nil {
			a.cfg.Log.Error("self-check failed", "error", err)
			continue
		}
		a.cfg.Pulse()
	}
}

// checkTEE reports whether the configured technology works.
func (a *Agent) checkTEE() {
	if a.cfg.CheckTEE == nil {
		return
	}
	if err := a.cfg.CheckTEE(); err != nil {
		a.conditions.set(condition{code: CodeTEEMissing, severity: agentv1.Severity_SEVERITY_ERROR, text: err.Error()})
		return
	}
	a.conditions.clear(CodeTEEMissing, "")
}

// selfCheck says whether a call that changes something could be carried out: the
// ledger answers, and whoever has the turn gives it back.
func (a *Agent) selfCheck(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, selfCheckDeadline)
	defer cancel()
	if _, err := a.ledger.View(ctx); err != nil {
		return fmt.Errorf("the ledger does not answer: %w", err)
	}
	if !a.isAdopted() {
		return nil
	}
	done, err := a.turn(ctx)
	if err != nil {
		return err
	}
	done()
	return nil
}
