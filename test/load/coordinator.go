package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/api"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/gateways"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/coordinator/reaper"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/coordinator/runner"
	"github.com/casemate-dev/casemate/internal/coordinator/vault"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/pkg/release/git"
)

// clusterID is the cluster that both processes belong to.
const clusterID = "load-cluster"

// coordinator is the real one, wired as its daemon wires it but for what stands
// in for the world: connections, releases, and the judge of evidence.
type coordinator struct {
	records *records.Records
	agents  *rpc.Pool
	fleet   *fleet.Fleet
	runner  *runner.Runner
	planner *planner.Planner
	vault   *vault.Vault
	tracker *gateways.Tracker

	conn *grpc.ClientConn
	stop context.CancelFunc
	done chan error
}

// start opens the store, wires the parts and runs them.
func start(ctx context.Context, s store.Store, socket string) (_ *coordinator, err error) {
	c := &coordinator{done: make(chan error, 1)}
	if c.records, err = records.Open(ctx, s, func() string { return clusterID }); err != nil {
		return nil, err
	}
	if c.vault, err = vault.New(make([]byte, 32)); err != nil {
		return nil, err
	}
	if err = c.wireFleet(ctx, socket); err != nil {
		return nil, err
	}
	c.planner = planner.New(c.records, resolver{}, releases.New(releases.Config{AllowUnsigned: true}), c.fleet, time.Now)
	c.tracker = gateways.New(time.Now, nil)
	c.runner, err = runner.New(runner.Config{
		Log: quiet, Records: c.records, Engine: engine.Engine{Limits: engine.DefaultLimits()},
		Agents: c.fleet, Gateways: c.tracker, Attestor: judge{}, DNS: dns{}, Replanner: c.planner,
		Permanent: fleet.Permanent, SecretsKey: c.vault.PublicKey(), Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	c.fleet.SetSink(c.runner)
	return c, c.run(ctx)
}

// quiet drops the log: a line for every step of every update would be
// measured, too.
var quiet = slog.New(slog.DiscardHandler)

func (c *coordinator) wireFleet(ctx context.Context, socket string) error {
	var d net.Dialer
	agents, err := rpc.NewPool(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}))
	if err != nil {
		return err
	}
	c.agents = agents
	c.fleet, err = fleet.New(fleet.Config{
		Log: quiet, ClusterID: c.records.ClusterID, Epoch: c.records.Epoch, Now: time.Now,
		Profiles: []agentv1.CvmProfile{agentv1.CvmProfile_CVM_PROFILE_SEV_SNP},
		Dial:     func(address string) (fleet.Conn, error) { return agents.Dial(address), nil },
		Note:     c.records.NoteMachine,
	})
	if err != nil {
		return err
	}
	hosts, machines, err := c.records.Followed(ctx)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if err := c.fleet.AddKnown(h, machines[h.Name]); err != nil {
			return err
		}
	}
	return nil
}

// run starts the parts in the daemon's order.
func (c *coordinator) run(ctx context.Context) error {
	ctx, c.stop = context.WithCancel(ctx)
	if err := c.runner.Promises(ctx); err != nil {
		return err
	}
	work, err := c.runner.Start(ctx)
	if err != nil {
		return err
	}
	if err := c.runner.LostBefore(work, c.fleet.Names()); err != nil {
		return err
	}
	g, work := errgroup.WithContext(work)
	if err := c.serve(work, g); err != nil {
		return err
	}
	reap, err := reaper.New(reaper.Config{
		Log: quiet, Records: c.records, Hosts: c.fleet, Now: time.Now,
		Every: 30 * time.Second, Grace: 10 * time.Minute, Keep: time.Hour, StopGrace: time.Minute,
	})
	if err != nil {
		return err
	}
	g.Go(func() error { return c.fleet.Run(work) })
	g.Go(func() error { return reap.Run(work) })
	go func() {
		err := g.Wait()
		c.runner.Wait()
		c.done <- err
	}()
	return nil
}

// serve serves the API in this process and connects to it.
func (c *coordinator) serve(ctx context.Context, g *errgroup.Group) error {
	services, err := api.New(ctx, api.Config{
		Log: quiet, Records: c.records, Runner: c.runner, Planner: c.planner, Fleet: c.fleet,
		Gateways: c.tracker, Vault: c.vault, BaseDomain: "load.test",
		HoldTimeout: 30 * time.Second, Now: time.Now, NewUID: func() string { return "cnew" },
	})
	if err != nil {
		return err
	}
	lis := bufconn.Listen(1 << 20)
	server, err := rpc.NewServer(rpc.Config{
		Log: quiet, Register: services.Register, MapError: api.MapError, Slow: api.Slow(), Local: []net.Listener{lis},
	})
	if err != nil {
		return err
	}
	g.Go(func() error { return server.Run(ctx) })
	c.conn, err = rpc.Dial("coordinator", grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return lis.DialContext(ctx)
	}))
	return err
}

// end stops the coordinator; its store stays open.
func (c *coordinator) end() error {
	err := c.conn.Close()
	c.stop()
	return errors.Join(err, <-c.done, c.agents.Close())
}

// resolver answers from memory for every repository of the layout.
type resolver struct{}

// Resolve returns the config of a tag.
func (resolver) Resolve(_ context.Context, r git.Request) (*git.Found, error) {
	number, ok := strings.CutPrefix(r.Repository, repositories)
	container, err := strconv.Atoi(number)
	if !ok || err != nil {
		return nil, fmt.Errorf("no repository %s", r.Repository)
	}
	return &git.Found{
		Repository: r.Repository, Tag: r.Tag, Commit: commitOf(r.Tag),
		ConfigName: "casemate.yml", Content: configOf(container, r.Tag),
	}, nil
}

// judge accepts every enclave.
type judge struct{}

// Attest returns an accepting verdict.
func (judge) Attest(context.Context, model.ContainerKey, model.EnclaveRef, model.Revision, *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	return &model.Verdict{Accepted: true}, nil, nil
}

type dns struct{}

// Withdraw does nothing.
func (dns) Withdraw(context.Context, string) error { return nil }

// together runs f for every number below n, so many at a time, and returns the
// first error.
func together(ctx context.Context, atOnce, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	next := 0
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	for range atOnce {
		g.Go(func() error {
			for i := take(); i < n; i = take() {
				if err := f(ctx, i); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
