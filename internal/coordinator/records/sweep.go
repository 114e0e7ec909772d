package records

import (
	"context"
	"time"

	"github.com/casemate-dev/casemate/internal/store"
)

// sweepPage is how many records one sweep transaction deletes at most.
const sweepPage = 500

// SweepRequests forgets request ids that are older than before.
func (r *Records) SweepRequests(ctx context.Context, before time.Time) error {
	after := ""
	for {
		items, more, err := List(ctx, r, Requests, RequestPrefix, store.ListOptions{After: after, Limit: sweepPage})
		if err != nil {
			return err
		}
		var ops []store.Op
		for _, item := range items {
			after = item.Key
			if item.Value.Time.Before(before) {
				ops = append(ops, store.Delete(item.Key))
			}
		}
		if len(ops) > 0 {
			if _, err := r.Commit(ctx, nil, ops); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}
