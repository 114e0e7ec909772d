package agentd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent"
	"github.com/casemate-dev/casemate/internal/daemon"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// Run makes an agent from cfg and serves it until ctx ends; ready is called once
// it answers for the enclaves of its host. Enclaves go on running in the end.
func Run(ctx context.Context, cfg Config, log *slog.Logger, ready func()) (err error) {
	p, err := build(cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	local, remote, err := listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	server, err := rpc.NewServer(rpc.Config{
		Log: log, Register: p.agent.Register, MapError: agent.MapError, Check: p.agent.Check,
		Slow: p.agent.SlowCalls(), Local: local, Remote: remote,
	})
	if err != nil {
		return errors.Join(err, closeAll(local), closeAll(remote))
	}
	log.Info("agent starts", "name", cfg.Name, "version", daemon.Version(), "local", cfg.Listen.Local, "tcp", cfg.Listen.TCP)
	g, ctx := errgroup.WithContext(ctx)
	if cfg.Admin != "" {
		if err := daemon.ServeAdmin(ctx, g, cfg.Admin, daemon.MetricsHandler(p.agent.Metrics())); err != nil {
			return errors.Join(err, closeAll(local), closeAll(remote))
		}
	}
	g.Go(func() error { return p.agent.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return announce(ctx, p.agent, server, ready) })
	return g.Wait()
}

// readyAfter is how long the service manager is kept waiting for the adoption:
// an agent whose backend is down is better reachable than restarted.
const readyAfter = 20 * time.Second

// announce calls ready when the agent has adopted what runs, or could not for a
// while, and marks the enclaves' service as healthy once it has.
func announce(ctx context.Context, a *agent.Agent, server *rpc.Server, ready func()) error {
	server.SetHealth(agentv1.EnclaveService_ServiceDesc.ServiceName, false)
	timer := time.NewTimer(readyAfter)
	defer timer.Stop()
	select {
	case <-a.Adopted():
	case <-ctx.Done():
		return nil
	case <-timer.C:
		ready()
		select {
		case <-a.Adopted():
		case <-ctx.Done():
			return nil
		}
	}
	server.SetHealth(agentv1.EnclaveService_ServiceDesc.ServiceName, true)
	ready()
	return nil
}

// listen opens the configured listeners.
func listen(ctx context.Context, cfg Listen) (local, remote []net.Listener, err error) {
	if cfg.Local != "" {
		l, err := rpc.Listen(ctx, cfg.Local)
		if err != nil {
			return nil, nil, fmt.Errorf("open the local socket: %w", err)
		}
		local = append(local, l)
	}
	if cfg.TCP != "" {
		l, err := rpc.Listen(ctx, cfg.TCP)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("open the TCP listener: %w", err), closeAll(local))
		}
		remote = append(remote, l)
	}
	return local, remote, nil
}

func closeAll(list []net.Listener) error {
	var errs []error
	for _, l := range list {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
