package coordinator

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/casemate-dev/casemate/internal/coordinator/api"
	"github.com/casemate-dev/casemate/internal/coordinator/backup"
	"github.com/casemate-dev/casemate/internal/coordinator/metrics"
	"github.com/casemate-dev/casemate/internal/daemon"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// serve listens and serves the API.
func (d *Daemon) serve(ctx context.Context, g *errgroup.Group) error {
	register, err := d.services(ctx)
	if err != nil {
		return err
	}
	local, err := rpc.Listen(ctx, d.cfg.Listen.Local)
	if err != nil {
		return err
	}
	var remote []net.Listener
	if d.cfg.Listen.TCP != "" {
		tcp, err := rpc.Listen(ctx, d.cfg.Listen.TCP)
		if err != nil {
			return errors.Join(err, local.Close())
		}
		d.log.Info("serving", "tcp", tcp.Addr().String())
		remote = append(remote, tcp)
	}
	d.server, err = rpc.NewServer(rpc.Config{
		Log: d.log, Register: register, MapError: api.MapError, Slow: api.Slow(),
		Local: []net.Listener{local}, Remote: remote,
	})
	if err != nil {
		for _, l := range append(remote, local) {
			err = errors.Join(err, l.Close())
		}
		return err
	}
	g.Go(func() error { return d.server.Run(ctx) })
	return nil
}

// services returns what adds every service to a gRPC server.
func (d *Daemon) services(ctx context.Context) (func(grpc.ServiceRegistrar), error) {
	p := &d.parts
	services, err := api.New(ctx, api.Config{
		Log: d.log, Records: p.records, Runner: p.runner, Planner: p.planner, Fleet: p.fleet,
		Gateways: p.gateways, Vault: p.vault, BaseDomain: strings.ToLower(d.cfg.BaseDomain),
		HoldTimeout: d.cfg.Limits.RouteHold, Now: time.Now,
		NewUID: func() string { return "c" + newID(5) },
	})
	if err != nil {
		return nil, err
	}
	d.counts.Watch(metrics.Live{
		Fleet: p.fleet.Census, Streams: services.Streams, Gateways: func() int { return len(p.gateways.Names()) },
	})
	backups, err := backup.New(backup.Config{Source: d.store, Folder: d.cfg.StateDir, ClusterID: p.records.ClusterID, Now: time.Now})
	if err != nil {
		return nil, err
	}
	return func(r grpc.ServiceRegistrar) {
		services.Register(r)
		backups.Register(r)
	}, nil
}

// serveMetrics shows the metrics, if the configuration says where.
func (d *Daemon) serveMetrics(ctx context.Context, g *errgroup.Group) error {
	if d.cfg.Admin == "" {
		return nil
	}
	if err := daemon.ServeAdmin(ctx, g, d.cfg.Admin, daemon.MetricsHandler(d.counts.Registry())); err != nil {
		return err
	}
	g.Go(func() error { return d.counts.Follow(ctx, d.parts.records, d.log) })
	return nil
}
