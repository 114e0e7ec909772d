// Package coordinator is the coordinator's daemon: it wires the parts and runs
// them.
package coordinator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/casemate-dev/casemate/internal/coordinator/api"
	"github.com/casemate-dev/casemate/internal/coordinator/attestor"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/gateways"
	"github.com/casemate-dev/casemate/internal/coordinator/metrics"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/coordinator/reaper"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/coordinator/rejudge"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/coordinator/runner"
	"github.com/casemate-dev/casemate/internal/coordinator/vault"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/sqlite"
)

// Daemon is a coordinator that is wired and not started.
type Daemon struct {
	cfg    Config
	log    *slog.Logger
	store  *sqlite.Store
	parts  parts
	server *rpc.Server
	counts *metrics.Metrics
}

type parts struct {
	records  *records.Records
	agents   *rpc.Pool
	fleet    *fleet.Fleet
	gateways *gateways.Tracker
	vault    *vault.Vault
	planner  *planner.Planner
	runner   *runner.Runner
	reaper   *reaper.Reaper
	rejudger *rejudge.Rejudger
	judge    io.Closer
}

// newID returns n random bytes in lower-case hex.
func newID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, since Go 1.24
	return hex.EncodeToString(b)
}

// Run runs a coordinator until ctx ends. ready is called once it serves.
func Run(ctx context.Context, cfg Config, log *slog.Logger, ready func()) (retErr error) {
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	s, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(cfg.StateDir, "store.db")})
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer func() { retErr = errors.Join(retErr, s.Close()) }()
	agents, err := rpc.NewPool()
	if err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, agents.Close()) }()
	d, err := wire(ctx, cfg, log, s, agents)
	if d != nil && d.parts.judge != nil {
		defer func() { retErr = errors.Join(retErr, d.parts.judge.Close()) }()
	}
	if err != nil {
		return err
	}
	return d.run(ctx, ready)
}

// wire builds the parts from the store upwards.
func wire(ctx context.Context, cfg Config, log *slog.Logger, s *sqlite.Store, agents *rpc.Pool) (*Daemon, error) {
	d := &Daemon{cfg: cfg, log: log, store: s, parts: parts{agents: agents}, counts: metrics.New()}
	key, err := vault.LoadKey(cfg.SecretsKey)
	if err != nil {
		return d, err
	}
	p := &d.parts
	if p.vault, err = vault.New(key); err != nil {
		return d, err
	}
	if p.records, err = records.Open(ctx, d.counts.Store(s), func() string { return newID(8) }); err != nil {
		return d, err
	}
	if err := d.wireFleet(ctx); err != nil {
		return d, err
	}
	if err := d.wireEngine(); err != nil {
		return d, err
	}
	p.reaper, err = reaper.New(reaper.Config{
		Log: log, Records: p.records, Hosts: p.fleet, Now: time.Now, StopGrace: cfg.Limits.Stop,
		Every: cfg.Reaper.Every, Grace: cfg.Reaper.Grace, Keep: cfg.Reaper.Keep,
	})
	return d, err
}

// wireFleet makes the fleet with the hosts and gateways that are on record.
func (d *Daemon) wireFleet(ctx context.Context) error {
	p := &d.parts
	var err error
	p.fleet, err = fleet.New(fleet.Config{
		Log: d.log, ClusterID: p.records.ClusterID, Epoch: p.records.Epoch, Profiles: d.cfg.profiles(), Now: time.Now, Silent: d.cfg.Limits.Silent,
		Dial: func(address string) (fleet.Conn, error) { return p.agents.Dial(address), nil },
		Note: p.records.NoteMachine,
	})
	if err != nil {
		return err
	}
	hosts, machines, err := p.records.Followed(ctx)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if err := p.fleet.AddKnown(h, machines[h.Name]); err != nil {
			return err
		}
	}
	known, _, err := records.List(ctx, p.records, records.Gateways, records.GatewayPrefix, store.ListOptions{})
	if err != nil {
		return err
	}
	var names []string
	for _, g := range known {
		names = append(names, g.Value.Name)
	}
	p.gateways = gateways.New(time.Now, names)
	return nil
}

func (d *Daemon) wireEngine() error {
	p := &d.parts
	tags, err := d.cfg.Git.resolver()
	if err != nil {
		return err
	}
	signed, err := d.cfg.Releases.policy(d.cfg.allows(releases.Unsigned))
	if err != nil {
		return err
	}
	p.planner = planner.New(p.records, tags, signed, p.fleet, time.Now)
	judge, closer, err := d.cfg.Attestation.Open(d.cfg.allows("simulated"), time.Now)
	if err != nil {
		return err
	}
	p.judge = closer
	attest, err := attestor.New(attestor.Config{
		Log: d.log, Now: time.Now, Signer: p.vault.Signer(), Judge: judge,
		AllowDebug: d.cfg.allows("debug"), AllowUnsigned: d.cfg.allows(releases.Unsigned),
		Secrets: api.SecretValues{Records: p.records, Open: p.vault.Open},
	})
	if err != nil {
		return err
	}
	counted := d.counts.Attestor(attest)
	p.rejudger, err = rejudge.New(rejudge.Config{
		Log: d.log, Every: d.cfg.Policy.Rejudge, Now: time.Now, Serving: p.serving,
		Judge: func(ctx context.Context, k model.ContainerKey) error {
			_, _, err := p.runner.Rejudge(ctx, k)
			return err
		},
	})
	if err != nil {
		return err
	}
	p.runner, err = runner.New(runner.Config{
		Log: d.log, Records: p.records, Engine: engine.Engine{Limits: d.cfg.engineLimits(), Restored: p.records.Restored},
		Agents: p.fleet, Gateways: p.gateways, Attestor: counted,
		Judge: counted, CloseRefused: d.cfg.Policy.OnRefused == refusedClose, Refused: func(k model.ContainerKey) { p.rejudger.Ask(k) },
		DNS: staticDNS{}, Replanner: p.planner,
		Permanent: fleet.Permanent, SecretsKey: p.vault.PublicKey(), Now: time.Now,
	})
	if err != nil {
		return err
	}
	p.fleet.SetSink(p.runner)
	return nil
}

// serving lists the enclaves that serve, by container.
func (p *parts) serving(ctx context.Context) (map[model.ContainerKey]string, error) {
	out := map[model.ContainerKey]string{}
	for after := ""; ; {
		items, more, err := records.List(ctx, p.records, records.Containers, records.ContainerPrefix, store.ListOptions{After: after, Limit: 500})
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if c := item.Value; c.Active != nil && c.Teardown == nil {
				out[c.Key()] = c.Active.ID
			}
			after = records.ContainerKey(item.Value.Key())
		}
		if !more {
			return out, nil
		}
	}
}

// staticDNS is for domains whose records point at the gateways for good, by a
// wildcard: nothing has to be withdrawn.
type staticDNS struct{}

// Withdraw does nothing.
func (staticDNS) Withdraw(context.Context, string) error { return nil }

// run starts the parts in the order in which they need each other, and stops
// them in the reverse one.
func (d *Daemon) run(ctx context.Context, ready func()) error {
	p := &d.parts
	if err := p.runner.Promises(ctx); err != nil {
		return err
	}
	work, err := p.runner.Start(ctx)
	defer p.runner.Wait()
	if err != nil {
		return err
	}
	if err := p.runner.LostBefore(work, p.fleet.Names()); err != nil {
		return err
	}
	g, work := errgroup.WithContext(work)
	if err := d.serve(work, g); err != nil {
		return err
	}
	g.Go(func() error { return p.fleet.Run(work) })
	g.Go(func() error { return p.reaper.Run(work) })
	g.Go(func() error { return p.rejudger.Run(work) })
	g.Go(func() error { return d.sweepRequests(work) })
	g.Go(func() error { return d.serveMetrics(work, g) })
	d.log.Info("coordinator runs", "cluster", p.records.ClusterID, "epoch", p.records.Epoch)
	ready()
	err = g.Wait()
	if cause := context.Cause(work); err == nil && ctx.Err() == nil && errors.Is(cause, records.ErrFenced) {
		return cause
	}
	return err
}

// sweepEvery is the time between two sweeps of old request ids.
const sweepEvery = 10 * time.Minute

// sweepRequests forgets request ids after a day.
func (d *Daemon) sweepRequests(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := d.parts.records.SweepRequests(ctx, time.Now().Add(-d.cfg.Limits.RequestKeep)); err != nil && ctx.Err() == nil {
				d.log.Warn("sweep request ids", "error", err)
			}
		}
	}
}
