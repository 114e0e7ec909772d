package agent

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/fence"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// defaultGrace is how long a guest may take to power off where the caller does
// not say.
const defaultGrace = time.Minute

// stop has an enclave stopped, or records an unknown one as stopped. It returns
// once that it is to stop is durable.
func (a *Agent) stop(ctx context.Context, f fence.Fence, id string, grace time.Duration, why string) (*agentv1.Enclave, error) {
	done, err := a.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := a.fence.Holds(f); err != nil {
		return nil, err
	}
	e := a.board.get(id)
	if e == nil {
		return a.bury(f.Cluster, id, why)
	}
	if err := ours(f, e); err != nil {
		return nil, err
	}
	if grace == 0 {
		grace = defaultGrace
	}
	m := a.monitor(id)
	if m == nil {
		return a.unmonitored(id)
	}
	a.cfg.Log.Info("enclave to stop", "enclave", id, "grace", grace, "why", why)
	if err := m.askStop(ctx, grace); err != nil {
		return nil, err
	}
	return a.board.get(id), nil
}

// unmonitored answers for an enclave that nobody follows: one that has ended, or
// any while the agent starts or stops. Of those it must not be said that they
// stop: nothing would be done about it, and the caller would not ask again.
func (a *Agent) unmonitored(id string) (*agentv1.Enclave, error) {
	e := a.board.get(id)
	if e != nil && ended(e.GetState()) {
		return e, nil
	}
	return nil, rpc.Error(codes.Unavailable, "STOPPING", "the agent is being restarted: try again")
}

// ours refuses to touch an enclave that another cluster wants.
func ours(f fence.Fence, e *agentv1.Enclave) error {
	if e.GetClusterId() == f.Cluster {
		return nil
	}
	return rpc.Precondition(ReasonForeignCluster, e.GetId(),
		fmt.Sprintf("enclave %s belongs to cluster %q: only that one may stop or delete it", e.GetId(), e.GetClusterId()))
}

// remove forgets an enclave that has ended and holds nothing.
func (a *Agent) remove(ctx context.Context, f fence.Fence, id string) error {
	done, err := a.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := a.fence.Holds(f); err != nil {
		return err
	}
	e := a.board.get(id)
	if e == nil {
		return nil
	}
	if err := ours(f, e); err != nil {
		return err
	}
	if !ended(e.GetState()) || e.GetClaimed() {
		return rpc.Precondition(ReasonNotEnded, id,
			fmt.Sprintf("enclave %s is %s and holds its claim: stop it and wait until it is released", id, stateName(e.GetState())))
	}
	if err := a.settle(ctx, id); err != nil {
		return err
	}
	// The record goes last: what is left of an interrupted delete can be deleted.
	if e.GetSpec() != nil {
		if err := a.cfg.Backend.Remove(ctx, id); err != nil {
			return fmt.Errorf("remove what is left of enclave %s: %w", id, err)
		}
	}
	if err := a.records.Delete(id); err != nil {
		return unwritten(err)
	}
	a.board.remove(id)
	a.conditions.clear(CodeForeign, id)
	a.cfg.Log.Info("enclave deleted", "enclave", id)
	return nil
}

// settle waits until an ended enclave's monitor has ended too.
func (a *Agent) settle(ctx context.Context, id string) error {
	m := a.monitor(id)
	if m == nil {
		return nil
	}
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait until enclave %s is settled: %w", id, ctx.Err())
	}
}
