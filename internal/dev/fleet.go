package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// What a fleet's enclaves have evidence of: simulated vendors sign it, or nobody does.
const (
	SEVSNP = "sev-snp"
	TDX    = "tdx"
	NoTEE  = "none"
)

// Options describe a fleet.
type Options struct {
	// Dir holds all state, logs and sockets. It must be short: a socket's path has
	// at most 107 bytes.
	Dir string
	// Bin is the folder with the daemons' binaries.
	Bin string
	// Hosts are the presets of fake hosts, one agent each, such as 8xH200.
	Hosts []string
	// TEE is what enclaves have evidence of: SEVSNP, the default, TDX, or NoTEE.
	TEE string
	// Gateways is how many gateways run; 0 means one.
	Gateways int
	// Limits are lines of the coordinator's limits section, such as "drain: 3s".
	Limits []string
	// Reaper are lines of its reaper section, such as "every: 1s".
	Reaper []string
	// Releases are lines of its releases section; none trusts the fleet's own key.
	Releases []string
	// ReadyTimeout is how long the fleet may take to be ready.
	ReadyTimeout time.Duration
	// Reach says where the coordinator is told that the n-th agent is, given where it
	// is; nil for there. A test puts somebody in between.
	Reach func(n int, address string) string
	// Place says where each process runs, by its name; nil for loopback.
	Place func(process string) Place
}

// Fleet is a coordinator, agents and gateways that run on this machine.
type Fleet struct {
	Options
	Coordinator *Process
	Agents      []*Process
	GatewayProc []*Process
	// GatewayAddr is where clients connect; GatewayAddrs has all of them.
	GatewayAddr  string
	GatewayAddrs []string
	AdminAddrs   []string
	TCP          string

	conn *grpc.ClientConn
}

// BaseDomain ends the domains of a development fleet's containers. The .test
// domain never resolves on the Internet (RFC 6761).
const BaseDomain = "casemate.test"

// Socket is the coordinator's local socket.
func (f *Fleet) Socket() string { return "unix://" + filepath.Join(f.Dir, "c.sock") }

// AgentSocket is the local socket of the n-th agent.
func (f *Fleet) AgentSocket(n int) string {
	return "unix://" + filepath.Join(f.Dir, fmt.Sprintf("a%d.sock", n+1))
}

// HostName is the name of the n-th host.
func HostName(n int) string { return fmt.Sprintf("host-%d", n+1) }

func agentName(n int) string { return fmt.Sprintf("agent-%d", n+1) }

func gatewayName(n int) string { return fmt.Sprintf("gateway-%d", n+1) }

// Conn is the connection to the coordinator.
func (f *Fleet) Conn() *grpc.ClientConn { return f.conn }

// Binary returns the path of a daemon's binary.
func (o Options) Binary(name string) string { return filepath.Join(o.Bin, "casemate-"+name) }

// Start starts every process and waits until each host is ready. What was
// started is stopped if anything fails.
func Start(ctx context.Context, o Options) (_ *Fleet, retErr error) {
	f := &Fleet{Options: o}
	if f.Gateways == 0 {
		f.Gateways = 1
	}
	if f.TEE == "" {
		f.TEE = SEVSNP
	}
	if f.ReadyTimeout == 0 {
		f.ReadyTimeout = 30 * time.Second
	}
	if err := f.Check(); err != nil {
		return nil, err
	}
	if err := f.write(); err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, f.Stop(context.WithoutCancel(ctx)))
		}
	}()
	for n := range f.Hosts {
		if err := f.StartAgent(n); err != nil {
			return nil, err
		}
	}
	if err := f.StartCoordinator(); err != nil {
		return nil, err
	}
	for n := range f.Gateways {
		if err := f.StartGateway(n); err != nil {
			return nil, err
		}
	}
	var err error
	if f.conn, err = rpc.Dial(f.Socket()); err != nil {
		return nil, err
	}
	if err := f.ready(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// StartCoordinator starts the coordinator, again if it was stopped.
func (f *Fleet) StartCoordinator() (err error) {
	f.Coordinator, err = f.start("coordinator", "coordinator")
	return err
}

// StartAgent starts the n-th agent, again if it was stopped.
func (f *Fleet) StartAgent(n int) error {
	p, err := f.start(agentName(n), "agent")
	if err != nil {
		return err
	}
	if n < len(f.Agents) {
		f.Agents[n] = p
		return nil
	}
	f.Agents = append(f.Agents, p)
	return nil
}

// StartGateway starts the n-th gateway, again if it was stopped.
func (f *Fleet) StartGateway(n int) error {
	p, err := f.start(gatewayName(n), "gateway")
	if err != nil {
		return err
	}
	if n < len(f.GatewayProc) {
		f.GatewayProc[n] = p
		return nil
	}
	f.GatewayProc = append(f.GatewayProc, p)
	return nil
}

func (f *Fleet) file(name string) string { return filepath.Join(f.Dir, name) }

// ready adds the hosts and waits until all are ready and every gateway follows
// the coordinator: one that is not there yet is not waited for in a switch.
func (f *Fleet) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.ReadyTimeout)
	defer cancel()
	hosts := cv1.NewHostServiceClient(f.conn)
	for n := range f.Hosts {
		address := f.AgentAddress(n)
		if f.Reach != nil {
			address = f.Reach(n, address)
		}
		_, err := hosts.AddHost(ctx, &cv1.AddHostRequest{Name: HostName(n), Address: address}, grpc.WaitForReady(true))
		if err != nil && rpc.Reason(err) != "HOST_EXISTS" { // a fleet was started in this folder before
			return f.explain(fmt.Errorf("add %s: %w", HostName(n), err))
		}
	}
	if err := awaitHosts(ctx, hosts, len(f.Hosts)); err != nil {
		return f.explain(err)
	}
	for n, admin := range f.AdminAddrs {
		if err := awaitGateway(ctx, admin, f.place(gatewayName(n)).Dial); err != nil {
			return f.explain(err)
		}
	}
	return f.explain(nil) // somebody else may have answered in the place of one that has ended
}

// awaitHosts watches until this many hosts are ready.
func awaitHosts(ctx context.Context, hosts cv1.HostServiceClient, want int) error {
	stream, err := hosts.WatchHosts(ctx, &cv1.WatchHostsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("watch hosts: %w", err)
	}
	ready := map[string]bool{}
	for len(ready) < want {
		m, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("only %d of %d hosts are ready: %w", len(ready), want, err)
		}
		if h := m.GetChanged(); h != nil {
			if h.GetStatus() == cv1.HostStatus_HOST_STATUS_READY {
				ready[h.GetName()] = true
			} else {
				delete(ready, h.GetName())
			}
		}
	}
	return nil
}

// explain adds the end of the logs of processes that have ended.
func (f *Fleet) explain(err error) error {
	for _, p := range f.processes() {
		select {
		case <-p.Done():
			err = errors.Join(err, fmt.Errorf("%s has ended: %s", p.Name, lastLines(p.Log, 5)))
		default:
		}
	}
	return err
}

func lastLines(path string, n int) string {
	data, err := os.ReadFile(path) //nolint:gosec // our own log
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (f *Fleet) processes() []*Process {
	all := append([]*Process{}, f.GatewayProc...)
	if f.Coordinator != nil {
		all = append(all, f.Coordinator)
	}
	return append(all, f.Agents...)
}

// Stop ends every process, the simulated enclaves too.
func (f *Fleet) Stop(ctx context.Context) error {
	var errs []error
	if f.conn != nil {
		errs = append(errs, f.conn.Close())
	}
	for _, p := range f.processes() {
		errs = append(errs, p.Stop(ctx))
	}
	return errors.Join(append(errs, f.killEnclaves())...)
}
