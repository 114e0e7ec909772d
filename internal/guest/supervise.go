package guest

import (
	"context"
	"fmt"
	"sync"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/release"
)

// report is news of one container's health.
type report struct {
	container int
	health    health
	reason    string
}

// superviseHealth tests every container until ctx ends, and shows the health of
// all in the health stage. The shim opens when all are healthy for the first
// time, and stays open: whether an unhealthy enclave gets traffic is for those
// who route it.
func (g *Guest) superviseHealth(ctx context.Context, state *bootState) {
	g.board.setHealth(false, guestapi.StatusRunning, "")
	reports := make(chan report)
	var probers sync.WaitGroup
	for i, s := range state.started {
		probers.Go(func() { g.watchContainer(ctx, i, s.container, s.workload, reports) })
	}
	latest := make([]report, len(state.started))
	for ctx.Err() == nil {
		select {
		case r := <-reports:
			latest[r.container] = r
			g.showHealth(state, latest)
		case <-ctx.Done():
		}
	}
	probers.Wait()
}

func (g *Guest) showHealth(state *bootState, latest []report) {
	ready, status, reason := true, guestapi.StatusOK, ""
	for i, r := range latest {
		name := state.started[i].container.Name
		switch r.health {
		case healthHealthy:
			continue
		case healthUnhealthy:
			status = guestapi.StatusFailed
			reason = fmt.Sprintf("container %s is unhealthy: %s", name, r.reason)
		case healthStarting:
			if status == guestapi.StatusOK {
				status = guestapi.StatusRunning
				reason = fmt.Sprintf("container %s is not healthy yet: %s", name, r.reason)
			}
		}
		ready = false
	}
	if ready {
		g.openShim(state)
	}
	if now, _ := g.board.snapshot(); now.Ready != ready {
		g.cfg.Log.Info("health changed", "ready", ready, "reason", reason)
	}
	g.board.setHealth(ready, status, reason)
}

// watchContainer reports a container's health whenever it changes, until ctx
// ends or the container does.
func (g *Guest) watchContainer(ctx context.Context, i int, c release.Container, w Workload, out chan<- report) {
	last := report{container: i}
	tell := func(h health, reason string) {
		next := report{i, h, reason}
		if next == last {
			return
		}
		select {
		case out <- next:
			last = next
		case <-ctx.Done():
		}
	}
	alive, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-w.Done():
		case <-ctx.Done():
		}
	}()
	if c.Healthcheck == nil {
		tell(healthHealthy, "")
		<-alive.Done()
	} else {
		g.probe(alive, *c.Healthcheck, w, tell)
	}
	if ctx.Err() == nil {
		g.ended(c, w, tell)
	}
}

// ended judges a container that has ended for good. One that did its work and
// serves nobody, such as a migration, is no reason to call the enclave sick.
func (g *Guest) ended(c release.Container, w Workload, tell func(health, string)) {
	upstream := g.upstream.Load()
	switch err := w.Err(); {
	case err != nil:
		tell(healthUnhealthy, fmt.Sprintf("it ended: %v", err))
	case upstream == nil || upstream.name != c.Name:
		tell(healthHealthy, "")
	default:
		tell(healthUnhealthy, "it ended")
	}
}

func (g *Guest) probe(ctx context.Context, check release.Healthcheck, w Workload, tell func(health, string)) {
	t := newTracker(check, g.cfg.Clock.Now())
	for ctx.Err() == nil {
		err := probeOnce(ctx, check, w)
		if ctx.Err() != nil {
			return
		}
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		switch state := t.observe(g.cfg.Clock.Now(), err); state {
		case healthHealthy:
			tell(state, "")
		default:
			tell(state, reason)
		}
		if g.cfg.Clock.Sleep(ctx, t.pause()) != nil {
			return
		}
	}
}

func probeOnce(ctx context.Context, check release.Healthcheck, w Workload) error {
	ctx, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	return w.Probe(ctx, check.Test)
}
