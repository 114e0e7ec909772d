package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sort"
	"time"

	"buf.build/go/protovalidate"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	channelz "google.golang.org/grpc/channelz/service"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

// Defaults of a server.
const (
	// DefaultTimeout bounds a unary call that says nothing itself.
	DefaultTimeout = 30 * time.Second
	// MaxMessage bounds a message in both directions, in bytes.
	MaxMessage = 8 << 20
	// stopGrace is how long calls in flight may take when a server stops.
	stopGrace = 5 * time.Second
)

// Config describes a server.
type Config struct {
	Log *slog.Logger
	// Register adds the services.
	Register func(grpc.ServiceRegistrar)
	// MapError turns errors of handlers into gRPC errors.
	MapError func(error) error
	// Check, if set, sees every request after the proto's own rules.
	Check func(ctx context.Context, method string, req any) error
	// Slow gives full method names a longer time than DefaultTimeout.
	Slow map[string]time.Duration
	// Local lists listeners on this machine only: they have channelz, too.
	Local []net.Listener
	// Remote lists the other listeners.
	Remote []net.Listener
	// Options are added to both servers'.
	Options []grpc.ServerOption
}

// Server serves the same services on local and remote listeners.
type Server struct {
	cfg           Config
	local, remote *grpc.Server
	health        *health.Server
}

// NewServer registers the services, reflection and grpc.health.v1 with a name
// per service.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Log == nil || cfg.Register == nil {
		return nil, errors.New("rpc: a server needs Log and Register")
	}
	c, err := newChain(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, health: health.NewServer()}
	s.local, s.remote = s.build(c), s.build(c)
	channelz.RegisterChannelzServiceToServer(s.local)
	return s, nil
}

func newChain(cfg Config) (*chain, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("rpc: make the validator: %w", err)
	}
	return &chain{
		log: cfg.Log, validator: validator, timeout: DefaultTimeout,
		slow: cfg.Slow, mapError: cfg.MapError, check: cfg.Check,
	}, nil
}

// Interceptors returns what every call goes through that a server made from cfg
// takes, for those who call its services without one.
func Interceptors(cfg Config) (grpc.UnaryServerInterceptor, grpc.StreamServerInterceptor, error) {
	if cfg.Log == nil {
		return nil, nil, errors.New("rpc: interceptors need Log")
	}
	c, err := newChain(cfg)
	if err != nil {
		return nil, nil, err
	}
	return c.unary, c.stream, nil
}

func (s *Server) build(c *chain) *grpc.Server {
	opts := append([]grpc.ServerOption{
		grpc.ChainUnaryInterceptor(c.unary),
		grpc.ChainStreamInterceptor(c.stream),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.MaxConcurrentStreams(1000),
		// grpc-go's defaults refuse pings more often than every 5 minutes and
		// notice a dead peer after 2 hours.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}, s.cfg.Options...)
	g := grpc.NewServer(opts...)
	s.cfg.Register(g)
	for name := range g.GetServiceInfo() {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	healthpb.RegisterHealthServer(g, s.health)
	reflection.Register(g)
	return g
}

// SetHealth sets the state of one service, by its full name; "" is the server.
func (s *Server) SetHealth(service string, serving bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(service, state)
}

// Services returns the full names of the services, sorted.
func (s *Server) Services() []string {
	var names []string
	for name := range s.local.GetServiceInfo() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Run serves until ctx ends, then lets calls in flight finish within a few
// seconds. It closes the listeners.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	serve := func(server *grpc.Server, lis []net.Listener) {
		for _, l := range lis {
			g.Go(func() error {
				// It is stopped before it serves if ctx ends that early.
				if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
					return fmt.Errorf("serve on %s: %w", l.Addr(), err)
				}
				return nil
			})
		}
	}
	serve(s.local, s.cfg.Local)
	serve(s.remote, s.cfg.Remote)
	g.Go(func() error {
		<-ctx.Done()
		s.health.Shutdown()
		stopBoth(s.local, s.remote)
		return nil
	})
	return g.Wait()
}

func stopBoth(servers ...*grpc.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, s := range servers {
			s.GracefulStop()
		}
	}()
	t := time.AfterFunc(stopGrace, func() {
		for _, s := range servers {
			s.Stop()
		}
	})
	<-done
	t.Stop()
}
