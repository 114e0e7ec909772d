// Package gatewayd is the gateway's daemon: its configuration and its wiring.
package gatewayd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/casemate-dev/casemate/internal/daemon"
	"github.com/casemate-dev/casemate/internal/gateway"
	"github.com/casemate-dev/casemate/internal/gateway/routesource"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/yamlconfig"
)

// EnvPrefix begins the environment variables that override the file.
const EnvPrefix = "CASEMATE_GATEWAY"

// Config is the gateway's configuration file.
type Config struct {
	// Name is the gateway's own; the coordinator waits for it by this name.
	Name string `yaml:"name"`
	// Coordinator is where routes come from: host:port or unix:///path.
	Coordinator string `yaml:"coordinator"`
	// StateDir holds the last routes.
	StateDir string `yaml:"state_dir"`
	// Listen are the addresses on which clients connect.
	Listen []string `yaml:"listen"`
	// Admin is where metrics, health and routes are shown; empty for nowhere.
	Admin string `yaml:"admin"`
	// ClusterID pins the cluster; empty follows the first that speaks.
	ClusterID string `yaml:"cluster_id"`
	// TrustedProxies are prefixes from which PROXY protocol v2 is expected.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// SendProxy begins connections to enclaves with a PROXY protocol v2 header.
	SendProxy      bool          `yaml:"send_proxy"`
	MaxConnections int           `yaml:"max_connections"`
	MaxSource      int           `yaml:"max_source"`
	MaxHeld        int           `yaml:"max_held"`
	HelloTimeout   time.Duration `yaml:"hello_timeout"`
	DialTimeout    time.Duration `yaml:"dial_timeout"`
	HoldTimeout    time.Duration `yaml:"hold_timeout"`
	IdleTimeout    time.Duration `yaml:"idle_timeout"`
	DrainTimeout   time.Duration `yaml:"drain_timeout"`
}

// SetDefaults fills in what a file need not say; numbers that are left 0 are the
// gateway package's defaults.
func (c *Config) SetDefaults() {
	*c = Config{StateDir: "/var/lib/casemate/gateway", Listen: []string{":443"}, Admin: "127.0.0.1:9443"}
	c.Name, _ = os.Hostname()
}

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// Validate says everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	need := func(ok bool, key, text string) {
		if !ok {
			errs = append(errs, yamlconfig.Problem(key, "%s", text))
		}
	}
	need(nameForm.MatchString(c.Name), "name", "must be lower-case letters, digits, dots and dashes")
	need(c.Coordinator != "", "coordinator", "is required: host:port or unix:///path")
	need(c.StateDir != "", "state_dir", "is required: the folder for the last routes")
	need(len(c.Listen) > 0, "listen", "must name at least one address, such as :443")
	for _, p := range c.TrustedProxies {
		_, err := netip.ParsePrefix(p)
		need(err == nil, "trusted_proxies", p+" is not a prefix such as 10.0.0.0/8")
	}
	return errors.Join(errs...)
}

func (c *Config) prefixes() []netip.Prefix {
	out := make([]netip.Prefix, len(c.TrustedProxies))
	for i, p := range c.TrustedProxies {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

// Run runs a gateway until ctx ends. ready is called once it serves.
func Run(ctx context.Context, cfg Config, log *slog.Logger, ready func()) (retErr error) {
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	gateway.TuneRuntime()
	routes, err := gateway.OpenRoutes(gateway.RoutesConfig{
		Path: filepath.Join(cfg.StateDir, "routes.json"), ClusterID: cfg.ClusterID, Logger: log,
	})
	if err != nil {
		return err
	}
	conn, err := rpc.Dial(cfg.Coordinator)
	if err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, conn.Close()) }()
	server, err := gateway.New(ctx, gateway.Config{
		Listen: cfg.Listen, Routes: routes, Source: routesource.New(conn, cfg.Name, routes), Logger: log,
		HelloTimeout: cfg.HelloTimeout, DialTimeout: cfg.DialTimeout, HoldTimeout: cfg.HoldTimeout,
		IdleTimeout: cfg.IdleTimeout, DrainTimeout: cfg.DrainTimeout,
		MaxConnections: cfg.MaxConnections, MaxSource: cfg.MaxSource, MaxHeld: cfg.MaxHeld,
		TrustedProxies: cfg.prefixes(), SendProxy: cfg.SendProxy,
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if cfg.Admin != "" {
		if err := daemon.ServeAdmin(ctx, g, cfg.Admin, server.AdminHandler()); err != nil {
			return err
		}
	}
	g.Go(func() error { return server.Run(ctx) })
	for _, a := range server.Addrs() {
		log.Info("gateway serves", "address", a.String())
	}
	ready()
	return g.Wait()
}
