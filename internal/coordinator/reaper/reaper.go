// Package reaper stops what nobody wants: enclaves that carry this cluster's id
// and that no container names, after a grace time. Enclaves of other clusters are
// never touched.
package reaper

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

// Hosts is what the reaper needs of the fleet.
type Hosts interface {
	Names() []string
	// Enclaves returns the cluster's enclaves on a host, and whether the host has
	// told of all it has.
	Enclaves(host string) ([]*agentv1.Enclave, bool)
	// Promises returns the reservations on a host, by enclave. One with room is that
	// of an enclave that its container wants or is busy stopping; one without, that
	// of an enclave that its container gave up on.
	Promises(host string) map[string]model.Reservation
	Stop(ctx context.Context, host, id string, grace time.Duration, why string) (model.Observation, error)
	Delete(ctx context.Context, host, id string) error
}

// Config describes a reaper.
type Config struct {
	Log     *slog.Logger
	Records *records.Records
	Hosts   Hosts
	// Every is the time between passes.
	Every time.Duration
	// Grace is how long an enclave may be unwanted before it is stopped.
	Grace time.Duration
	// Keep is how long the remains of one that ended are kept, for its log.
	Keep time.Duration
	// StopGrace is how long a guest may take to power off.
	StopGrace time.Duration
	Now       func() time.Time
}

// Reaper looks at every host again and again. Its Run is the only user of it.
type Reaper struct {
	cfg Config
	// unwanted is since when each enclave has been without a container.
	unwanted map[string]time.Time
}

// New returns a reaper.
func New(cfg Config) (*Reaper, error) {
	if cfg.Log == nil || cfg.Records == nil || cfg.Hosts == nil || cfg.Now == nil || cfg.Every <= 0 {
		return nil, errors.New("reaper: Log, Records, Hosts, Now and Every are required")
	}
	return &Reaper{cfg: cfg, unwanted: map[string]time.Time{}}, nil
}

// Run passes over the hosts until ctx ends.
func (r *Reaper) Run(ctx context.Context) error {
	t := time.NewTicker(r.cfg.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			r.pass(ctx)
		}
	}
}

// pass looks once at every host that can be reached.
func (r *Reaper) pass(ctx context.Context) {
	seen := map[string]bool{}
	for _, host := range r.cfg.Hosts.Names() {
		enclaves, all := r.cfg.Hosts.Enclaves(host)
		if !all {
			continue
		}
		promises := r.cfg.Hosts.Promises(host)
		for _, e := range enclaves {
			if promises[e.GetId()].Room != (model.Room{}) {
				// Nearly all are: a container is not read again and again for them.
				continue
			}
			id := host + "/" + e.GetId()
			if r.kept(e, id) {
				seen[id] = true
				continue
			}
			wanted, grace, err := r.wanted(ctx, host, e)
			if err != nil {
				r.cfg.Log.Error("is an enclave wanted", "host", host, "enclave", e.GetId(), "error", err)
				seen[id] = true
				continue
			}
			if !wanted {
				seen[id] = true
				r.reap(ctx, host, e, id, grace)
			}
		}
		r.disown(ctx, host, enclaves, model.WithoutRoom(promises))
	}
	for id := range r.unwanted {
		if !seen[id] {
			delete(r.unwanted, id)
		}
	}
}

// kept says whether an enclave is one that has ended, was not wanted, and is only kept
// for its log: its container is not read again and again.
func (r *Reaper) kept(e *agentv1.Enclave, id string) bool {
	since, known := r.unwanted[id]
	return known && ended(e) && !e.GetClaimed() && r.cfg.Now().Sub(since) < r.cfg.Keep
}

func ended(e *agentv1.Enclave) bool {
	return e.GetState() == agentv1.EnclaveState_ENCLAVE_STATE_STOPPED || e.GetState() == agentv1.EnclaveState_ENCLAVE_STATE_FAILED
}

// disown stops what a container gave up on and its host does not list: that it is
// not there is no proof, its creation may be on its way. Told to stop what it does
// not know, an agent remembers it, and that is the proof.
func (r *Reaper) disown(ctx context.Context, host string, listed []*agentv1.Enclave, givenUp []model.Reservation) {
	for _, p := range givenUp {
		if slices.ContainsFunc(listed, func(e *agentv1.Enclave) bool { return e.GetId() == p.Enclave }) {
			continue
		}
		s, err := r.cfg.Records.Load(ctx, model.ContainerKey{Org: p.Org, Name: p.Container})
		if err != nil || !slices.ContainsFunc(s.State.Container.Leftovers, func(l model.EnclaveRef) bool { return l.ID == p.Enclave && l.Host == host }) {
			continue
		}
		if _, err := r.cfg.Hosts.Stop(ctx, host, p.Enclave, r.cfg.StopGrace, "its container gave up on it"); err != nil {
			r.cfg.Log.Warn("disown", "host", host, "enclave", p.Enclave, "error", err)
		}
	}
}

// wanted says whether a container wants the enclave on this host, or is busy
// stopping it; and if not, for how long it may go on. One that its container gave
// up on while the host was away needs no time for doubt.
func (r *Reaper) wanted(ctx context.Context, host string, e *agentv1.Enclave) (bool, time.Duration, error) {
	k := model.ContainerKey{Org: e.GetSpec().GetOrg(), Name: e.GetSpec().GetContainer()}
	s, err := r.cfg.Records.Load(ctx, k)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrTooLarge) {
		return false, r.cfg.Grace, nil
	}
	if err != nil {
		return false, 0, err
	}
	here := func(ref model.EnclaveRef) bool { return ref.ID == e.GetId() && ref.Host == host }
	if slices.ContainsFunc(engine.Wanted(s.State), here) {
		return true, 0, nil
	}
	if slices.ContainsFunc(s.State.Container.Leftovers, here) {
		return false, 0, nil
	}
	return false, r.cfg.Grace, nil
}

// reap stops an unwanted enclave after its grace time, and forgets one that has
// ended after it was kept for its log.
func (r *Reaper) reap(ctx context.Context, host string, e *agentv1.Enclave, id string, grace time.Duration) {
	now := r.cfg.Now()
	since, known := r.unwanted[id]
	if !known {
		since = now
		r.unwanted[id] = now
	}
	var err error
	switch {
	case ended(e) && !e.GetClaimed() && now.Sub(since) >= r.cfg.Keep:
		err = r.cfg.Hosts.Delete(ctx, host, e.GetId())
	case !ended(e) && e.GetState() != agentv1.EnclaveState_ENCLAVE_STATE_STOPPING && now.Sub(since) >= grace:
		r.cfg.Log.Warn("stopping an enclave that no container wants", "host", host, "enclave", e.GetId())
		_, err = r.cfg.Hosts.Stop(ctx, host, e.GetId(), r.cfg.StopGrace, "no container wants it")
	}
	if err != nil {
		r.cfg.Log.Warn("reap", "host", host, "enclave", e.GetId(), "error", err)
	}
}
