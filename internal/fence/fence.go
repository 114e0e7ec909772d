// Package fence keeps a daemon to one cluster and to that cluster's newest
// coordinator: calls of another cluster, and of a coordinator that was replaced,
// are refused. What was accepted once survives a restart.
package fence

import (
	"context"
	"errors"
	"fmt"
	"regexp"
)

// Fence says on whose behalf a call is made.
type Fence struct {
	// Cluster is the identity of the coordinator's store.
	Cluster string
	// Epoch grows each time a coordinator takes the store over; at least 1.
	Epoch int64
}

// Errors of Admit; the error is a *[RefusedError].
var (
	// ErrForeign says that another cluster is followed.
	ErrForeign = errors.New("the call comes from a cluster that is not followed here")
	// ErrStale says that a newer coordinator of the cluster has called already.
	ErrStale = errors.New("the call comes from a coordinator that was replaced")
	// ErrMalformed says that a fence has no cluster or no epoch.
	ErrMalformed = errors.New("the fence is malformed")
)

// RefusedError says which fence was presented and which one holds.
type RefusedError struct {
	// Kind is ErrForeign or ErrStale.
	Kind error
	// Presented is the call's fence, Held the one in force.
	Presented, Held Fence
}

// Error names both fences.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%v: cluster %s epoch %d called, cluster %s epoch %d is followed",
		e.Kind, e.Presented.Cluster, e.Presented.Epoch, e.Held.Cluster, e.Held.Epoch)
}

// Is reports whether target is the error's kind.
func (e *RefusedError) Is(target error) bool { return target == e.Kind }

// clusterForm is that of Fence.cluster_id in the API.
var clusterForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// CheckCluster accepts 1 to 64 letters, digits, dots, underscores and hyphens
// that begin with a letter or digit.
func CheckCluster(id string) error {
	if !clusterForm.MatchString(id) {
		return fmt.Errorf("%w: cluster id %.80q must be 1 to 64 letters, digits, dots, underscores or hyphens", ErrMalformed, id)
	}
	return nil
}

func (f Fence) check() error {
	if err := CheckCluster(f.Cluster); err != nil {
		return err
	}
	if f.Epoch < 1 {
		return fmt.Errorf("%w: epoch %d; epochs begin at 1", ErrMalformed, f.Epoch)
	}
	return nil
}

// Current is the fence in force; the cluster is empty if none has called yet.
func (g *Guard) Current() Fence {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// Admit accepts a call's fence, and makes it the one in force if it is newer:
// durably, before it returns. The first cluster to call is followed from then
// on, unless one was pinned.
func (g *Guard) Admit(ctx context.Context, f Fence) error {
	if err := f.check(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("admit fence: %w", err)
	}
	if err := g.compare(f); err != nil {
		return err
	}
	if f == g.held {
		return nil
	}
	if err := g.write(f); err != nil {
		return fmt.Errorf("record that cluster %s epoch %d is followed: %w", f.Cluster, f.Epoch, err)
	}
	g.held = f
	return nil
}

// Holds checks that no newer fence was admitted since this one was. A call that
// has waited asks again before it changes something.
func (g *Guard) Holds(f Fence) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.compare(f)
}

// compare needs g.mu.
func (g *Guard) compare(f Fence) error {
	switch {
	case g.held.Cluster != "" && f.Cluster != g.held.Cluster:
		return &RefusedError{Kind: ErrForeign, Presented: f, Held: g.held}
	case f.Epoch < g.held.Epoch:
		return &RefusedError{Kind: ErrStale, Presented: f, Held: g.held}
	default:
		return nil
	}
}
