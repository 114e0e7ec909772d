package records

import (
	"context"
	"fmt"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
)

// NoteMachine commits what was found out about the machine of a host. It fails with
// store.ErrConflict if the host is on record no more.
func (r *Records) NoteMachine(ctx context.Context, host string, m model.Machine) error {
	op, err := Put(Machines, MachineKey(host), m)
	if err != nil {
		return err
	}
	if _, err := r.Commit(ctx, []store.Compare{store.Exists(HostKey(host))}, []store.Op{op}); err != nil {
		return fmt.Errorf("note the machine of host %s: %w", host, err)
	}
	return nil
}

// Followed are the hosts to follow, and what is known of their machines by name.
func (r *Records) Followed(ctx context.Context) ([]model.Host, map[string]model.Machine, error) {
	hosts, _, err := List(ctx, r, Hosts, HostPrefix, store.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	noted, _, err := List(ctx, r, Machines, MachinePrefix, store.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	follow := make([]model.Host, len(hosts))
	for i, h := range hosts {
		follow[i] = h.Value
	}
	machines := make(map[string]model.Machine, len(noted))
	for _, m := range noted {
		machines[m.Key[len(MachinePrefix):]] = m.Value
	}
	return follow, machines, nil
}
