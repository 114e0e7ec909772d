package api

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/gateways"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/coordinator/runner"
	"github.com/casemate-dev/casemate/internal/coordinator/vault"
)

// Fleet is what the services need of the fleet; *fleet.Fleet has it.
type Fleet interface {
	Add(h model.Host) error
	Remove(host string) error
	View(host string) (fleet.View, error)
	InUse(host string) []string
	Observe(host, enclave string) (o model.Observation, known bool)
	Changed() (version int64, changed <-chan struct{})
	Console(ctx context.Context, host, enclave string, follow bool, tail int32) (grpc.ServerStreamingClient[agentv1.StreamConsoleResponse], error)
}

// Config is what the services stand on.
type Config struct {
	Log      *slog.Logger
	Records  *records.Records
	Runner   *runner.Runner
	Planner  *planner.Planner
	Fleet    Fleet
	Gateways *gateways.Tracker
	Vault    *vault.Vault
	// BaseDomain ends the domains of containers that name none.
	BaseDomain string
	// HoldTimeout is how long gateways let new connections wait in a replace.
	HoldTimeout time.Duration
	Now         func() time.Time
	// NewUID makes a container's uid: lower-case letters and digits.
	NewUID func() string
}

// Server implements every service of casemate.coordinator.v1.
type Server struct {
	cfg Config
	// stop ends watches when the coordinator stops.
	stop context.Context
	// streams counts the watches and logs that clients follow.
	streams atomic.Int64
}

// Streams is how many watches and logs clients follow now.
func (s *Server) Streams() int { return int(s.streams.Load()) }

// New returns the services; watches end with ctx.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil || cfg.Records == nil || cfg.Runner == nil || cfg.Planner == nil || cfg.Fleet == nil ||
		cfg.Gateways == nil || cfg.Vault == nil || cfg.Now == nil || cfg.NewUID == nil || cfg.BaseDomain == "" {
		return nil, errors.New("api: every part of Config is required")
	}
	return &Server{cfg: cfg, stop: ctx}, nil
}

// Register adds the services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	cv1.RegisterContainerServiceServer(r, &containerService{Server: s})
	cv1.RegisterUpdateServiceServer(r, &updateService{Server: s})
	cv1.RegisterRevisionServiceServer(r, &revisionService{Server: s})
	cv1.RegisterSecretServiceServer(r, &secretService{Server: s})
	cv1.RegisterHostServiceServer(r, &hostService{Server: s})
	cv1.RegisterRouteServiceServer(r, &routeService{Server: s})
	cv1.RegisterEventServiceServer(r, &eventService{Server: s})
}

// Slow lists the calls that may ask a Git server and thus take longer.
func Slow() map[string]time.Duration {
	const git = 90 * time.Second
	return map[string]time.Duration{
		cv1.ContainerService_CreateContainer_FullMethodName: git,
		cv1.ContainerService_CopyContainer_FullMethodName:   git,
		cv1.ContainerService_StartContainer_FullMethodName:  git,
		cv1.HostService_DrainHost_FullMethodName:            git,
		cv1.UpdateService_PlanUpdate_FullMethodName:         git,
		cv1.ContainerService_AttestContainer_FullMethodName: attestLimit,
		// StartUpdate may wait for an update that it supersedes to end.
		cv1.UpdateService_StartUpdate_FullMethodName: 5 * time.Minute,
	}
}

func (s *Server) fence() *agentv1.Fence {
	return &agentv1.Fence{ClusterId: s.cfg.Records.ClusterID, Epoch: s.cfg.Records.Epoch}
}
