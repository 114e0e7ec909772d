package runner

import (
	"context"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
)

// Observed takes an agent's word; it is the fleet's Sink and does not block.
func (r *Runner) Observed(k model.ContainerKey, o model.Observation) {
	if o.Refused && !o.Ended() && r.cfg.Refused != nil {
		r.cfg.Refused(k)
	}
	full := r.posted(k, "observed", r.believed(engine.Observed{Observation: o}))
	r.line(k, false, func(ctx context.Context, a *actor) {
		if !r.nothingNew(ctx, k, a, o) {
			full(ctx, a)
		}
	})
}

// nothingNew says whether an agent's word changes nothing, by the container's
// record alone: that is so for nearly all words of a host that connects.
func (r *Runner) nothingNew(ctx context.Context, k model.ContainerKey, a *actor, o model.Observation) bool {
	if a.doubt != nil || a.effects != nil || a.timer != nil {
		return false
	}
	item, err := records.Get(ctx, r.cfg.Records, records.Containers, records.ContainerKey(k))
	return err == nil && settled(&item.Value, o) && r.routeIsCurrent(ctx, item.Value.Spec.Domain)
}

// routeIsCurrent says whether a route was published since the store was restored, if
// it ever was: if not, word of what it leads to matters.
func (r *Runner) routeIsCurrent(ctx context.Context, domain string) bool {
	if r.cfg.Engine.Restored == 0 {
		return true
	}
	item, err := records.Get(ctx, r.cfg.Records, records.Routes, records.RouteKey(domain))
	return err == nil && item.Value.Generation >= r.cfg.Engine.Restored
}

// settled says whether a container at rest is told what it knows: that the
// enclave that serves is healthy.
func settled(c *model.Container, o model.Observation) bool {
	return c.Status == model.Running && !c.Unhealthy && c.Silent == nil && c.Update == "" && c.Teardown == nil && c.Restart == nil &&
		len(c.Leftovers) == 0 && c.Active != nil && c.Active.ID == o.Enclave && c.Active.Host == o.Host &&
		o.State == model.EnclaveHealthy
}
