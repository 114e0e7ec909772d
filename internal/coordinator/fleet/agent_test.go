package fleet

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is a host's agent: it says what it is told to say. As one of an older
// version it tells of the host by a stream of its own, unless together is set.
type agent struct {
	agentv1.UnimplementedHostServiceServer
	agentv1.UnimplementedEnclaveServiceServer

	mu       sync.Mutex
	listener *bufconn.Listener
	server   *grpc.Server
	host     *agentv1.Host
	enclaves map[string]*agentv1.Enclave
	refuse   error
	together bool
	fences   []*agentv1.Fence
	stopped  []string
	// holdFacts and holdEnclaves keep a stream silent until they are closed.
	holdFacts    chan struct{}
	holdEnclaves chan struct{}
	facts        []chan *agentv1.Host
	changes      []chan *agentv1.WatchEnclavesResponse
}

func newAgent() *agent {
	return &agent{host: facts(8), enclaves: map[string]*agentv1.Enclave{}}
}

// facts are those of an idle host with so many GPUs.
func facts(gpus int) *agentv1.Host {
	h := &agentv1.Host{
		Name: "h1", Profile: agentv1.CvmProfile_CVM_PROFILE_NONE, FreeGpus: uint32(gpus),
		Cpus: &agentv1.Capacity{Total: 64, Free: 64}, MemoryMib: &agentv1.Capacity{Total: 1 << 20, Free: 1 << 20},
		GpuOffers: []uint32{0, 1, 2, 4, 8}, GpuCounts: []uint32{0, 1, 2, 4, 8},
	}
	for range gpus {
		h.Gpus = append(h.Gpus, &agentv1.Gpu{Healthy: true})
	}
	return h
}

// held are facts in which enclaves hold GPUs.
func held(gpus int, by map[string]int) *agentv1.Host {
	h := facts(gpus)
	next := 0
	for id, n := range by {
		for range n {
			h.Gpus[next].EnclaveId = id
			next++
		}
	}
	h.FreeGpus -= uint32(next)
	var offers []uint32
	for _, n := range h.GetGpuOffers() {
		if n <= h.GetFreeGpus() {
			offers = append(offers, n)
		}
	}
	h.GpuOffers = offers
	return h
}

func (a *agent) serve() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listener, a.server = bufconn.Listen(1<<16), grpc.NewServer(
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	agentv1.RegisterHostServiceServer(a.server, a)
	agentv1.RegisterEnclaveServiceServer(a.server, a)
	go func(s *grpc.Server, l net.Listener) { _ = s.Serve(l) }(a.server, a.listener)
}

func (a *agent) down() {
	a.mu.Lock()
	s := a.server
	a.facts, a.changes = nil, nil
	a.mu.Unlock()
	s.Stop()
}

// alone is the only connection of a pool.
type alone struct {
	*rpc.Peer
	pool *rpc.Pool
}

// Close ends both.
func (a alone) Close() error { return errors.Join(a.Peer.Close(), a.pool.Close()) }

func (a *agent) dial(address string) (Conn, error) {
	pool, err := rpc.NewPool(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		a.mu.Lock()
		l := a.listener
		a.mu.Unlock()
		return l.DialContext(ctx)
	}))
	if err != nil {
		return nil, err
	}
	return alone{pool.Dial(address), pool}, nil
}

func (a *agent) admit(f *agentv1.Fence) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fences = append(a.fences, f)
	return a.refuse
}

func (a *agent) WatchHost(req *agentv1.WatchHostRequest, out grpc.ServerStreamingServer[agentv1.WatchHostResponse]) error {
	if a.together {
		return errors.New("the host was asked for twice")
	}
	if err := a.admit(req.GetFence()); err != nil {
		return err
	}
	a.mu.Lock()
	hold, now := a.holdFacts, a.host
	ch := make(chan *agentv1.Host, 16)
	a.facts = append(a.facts, ch)
	a.mu.Unlock()
	if !waitFor(out.Context(), hold) {
		return out.Context().Err()
	}
	if err := out.Send(&agentv1.WatchHostResponse{Host: now}); err != nil {
		return err
	}
	for {
		select {
		case h := <-ch:
			if err := out.Send(&agentv1.WatchHostResponse{Host: h}); err != nil {
				return err
			}
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}

func waitFor(ctx context.Context, hold chan struct{}) bool {
	if hold == nil {
		return true
	}
	select {
	case <-hold:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *agent) WatchEnclaves(req *agentv1.WatchEnclavesRequest, out grpc.ServerStreamingServer[agentv1.WatchEnclavesResponse]) error {
	if err := a.admit(req.GetFence()); err != nil {
		return err
	}
	a.mu.Lock()
	hold := a.holdEnclaves
	ch := make(chan *agentv1.WatchEnclavesResponse, 64)
	for _, e := range a.enclaves {
		ch <- &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Changed{Changed: e}}
	}
	a.changes = append(a.changes, ch)
	var facts chan *agentv1.Host
	if a.together && req.GetWithHost() {
		facts = make(chan *agentv1.Host, 16)
		a.facts = append(a.facts, facts)
		if err := out.Send(hostSaid(a.host)); err != nil {
			a.mu.Unlock()
			return err
		}
	}
	a.mu.Unlock()
	ch <- &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Synced{Synced: &agentv1.EnclavesSynced{}}}
	if !waitFor(out.Context(), hold) {
		return out.Context().Err()
	}
	for {
		select {
		case h := <-facts:
			if err := out.Send(hostSaid(h)); err != nil {
				return err
			}
		case m := <-ch:
			if err := out.Send(m); err != nil {
				return err
			}
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}

func hostSaid(h *agentv1.Host) *agentv1.WatchEnclavesResponse {
	return &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Host{Host: h}}
}

// say changes an enclave and tells whoever watches.
func (a *agent) say(e *agentv1.Enclave) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.enclaves[e.GetId()] = e
	for _, ch := range a.changes {
		ch <- &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Changed{Changed: e}}
	}
}

func (a *agent) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.enclaves, id)
	for _, ch := range a.changes {
		ch <- &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_DeletedId{DeletedId: id}}
	}
}

func (a *agent) sayFacts(h *agentv1.Host) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.host = h
	for _, ch := range a.facts {
		ch <- h
	}
}

func (a *agent) StopEnclave(_ context.Context, req *agentv1.StopEnclaveRequest) (*agentv1.StopEnclaveResponse, error) {
	if err := a.admit(req.GetFence()); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = append(a.stopped, req.GetId())
	id := req.GetId()
	if id == "swapped" {
		id = "another"
	}
	return &agentv1.StopEnclaveResponse{Enclave: &agentv1.Enclave{Id: id, State: agentv1.EnclaveState_ENCLAVE_STATE_STOPPED}}, nil
}

func (a *agent) CreateEnclave(_ context.Context, req *agentv1.CreateEnclaveRequest) (*agentv1.CreateEnclaveResponse, error) {
	return &agentv1.CreateEnclaveResponse{}, a.admit(req.GetFence())
}

// heard is a Sink that keeps what it is told.
type heard struct {
	mu  sync.Mutex
	all []said
}

type said struct {
	Key model.ContainerKey
	model.Observation
}

func (h *heard) Observed(k model.ContainerKey, o model.Observation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, said{k, o})
}

// take returns what was heard since it was last asked.
func (h *heard) take() []said {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.all
	h.all = nil
	return out
}

// patience is Config.Silent in tests.
const patience = 2 * time.Minute

// noted is what a fleet has found out about machines.
type noted struct {
	mu       sync.Mutex
	machines map[string]model.Machine
	// full: nothing more can be noted.
	full bool
}

var errNotNoted = errors.New("the disk is full")

func (n *noted) note(_ context.Context, host string, m model.Machine) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full {
		return errNotNoted
	}
	if n.machines == nil {
		n.machines = map[string]model.Machine{}
	}
	n.machines[host] = m
	return nil
}

func (n *noted) of(host string) model.Machine {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.machines[host]
}

// joined returns a fleet that follows the agent as host h1; it ends with the
// test.
func joined(t *testing.T, a *agent) (*Fleet, *heard) {
	t.Helper()
	return joinedTo(t, a, &noted{})
}

// joinedTo is joined with these machines on record.
func joinedTo(t *testing.T, a *agent, machines *noted) (*Fleet, *heard) {
	t.Helper()
	a.serve()
	f, err := New(Config{
		Log: slog.New(slog.DiscardHandler), ClusterID: "c1", Epoch: 3, Dial: a.dial, Note: machines.note, Now: time.Now, Silent: patience,
		Profiles: []agentv1.CvmProfile{agentv1.CvmProfile_CVM_PROFILE_NONE},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{}
	f.SetSink(h)
	if err := f.AddKnown(model.Host{Name: "h1", Address: "agent"}, machines.of("h1")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		a.down()
	})
	return f, h
}

func enclave(id string, state agentv1.EnclaveState, claimed bool) *agentv1.Enclave {
	return &agentv1.Enclave{
		Id: id, State: state, Claimed: claimed, ClusterId: "c1", Endpoint: "10.0.0.1:443",
		Spec: &agentv1.EnclaveSpec{Org: "acme", Container: "api"},
	}
}
