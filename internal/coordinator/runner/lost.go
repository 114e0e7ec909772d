package runner

import (
	"context"
	"fmt"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

// Lost tells every container that a host was given up for good.
func (r *Runner) Lost(ctx context.Context, host string) error {
	items, _, err := records.List(ctx, r.cfg.Records, records.Containers, records.ContainerPrefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("tell containers of lost host %s: %w", host, err)
	}
	for _, item := range items {
		r.post(item.Value.Key(), engine.HostGone{Host: host})
	}
	return nil
}

// LostBefore is Lost for hosts that were forgotten by a coordinator that ended
// before it had told every container: those that reservations name and that are
// not among the known.
func (r *Runner) LostBefore(ctx context.Context, known []string) error {
	names := map[string]bool{}
	for _, name := range known {
		names[name] = true
	}
	items, _, err := records.List(ctx, r.cfg.Records, records.Reservations, records.ReservationPrefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("look for lost hosts: %w", err)
	}
	lost := map[string]bool{}
	for _, item := range items {
		if host := item.Value.Host; !names[host] && !lost[host] {
			lost[host] = true
			if err := r.Lost(ctx, host); err != nil {
				return err
			}
		}
	}
	return nil
}
