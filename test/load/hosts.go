package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// hosts serves every simulated host on one listener; the connection's authority
// says which host is meant.
type hosts struct {
	agentv1.UnimplementedEnclaveServiceServer

	agents map[string]*agent
	// full: hosts have their enclaves; else they are empty.
	full atomic.Bool

	mu sync.Mutex
	// held: enclaves stay in BOOTING; waiting are those that do.
	held    bool
	waiting []waiting
	created atomic.Int64
}

type waiting struct {
	agent *agent
	id    string
}

// runHosts serves until standard input ends, obeying one command a line.
func runHosts(ctx context.Context, socket string, l layout) error {
	h := &hosts{agents: map[string]*agent{}}
	for n := range l.hosts {
		h.agents[hostName(n)] = newAgent(l, n)
	}
	lis, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := grpc.NewServer(
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 1, PermitWithoutStream: true}))
	agentv1.RegisterEnclaveServiceServer(server, h)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(lis) }()
	fmt.Println("listening")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(h.obey(in.Text()))
	}
	server.Stop()
	return <-ended
}

// obey carries out a command and returns its answer.
func (h *hosts) obey(command string) string {
	switch command {
	case "full":
		h.full.Store(true)
	case "hold":
		h.mu.Lock()
		h.held = true
		h.mu.Unlock()
	case "release":
		h.mu.Lock()
		h.held = false
		all := h.waiting
		h.waiting = nil
		h.mu.Unlock()
		for _, w := range all {
			w.agent.boot(w.id)
		}
	case "created":
		return fmt.Sprint(h.created.Load())
	default:
		return "unknown command"
	}
	return "ok"
}

func (h *hosts) agent(ctx context.Context) (*agent, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if names := md.Get(":authority"); len(names) == 1 && h.agents[names[0]] != nil {
		return h.agents[names[0]], nil
	}
	return nil, status.Errorf(codes.NotFound, "no host %v", md.Get(":authority"))
}

// WatchEnclaves sends a host's facts, as the coordinator asks for them, and its
// enclaves, synced, and the changes of both.
func (h *hosts) WatchEnclaves(_ *agentv1.WatchEnclavesRequest, stream grpc.ServerStreamingServer[agentv1.WatchEnclavesResponse]) error {
	a, err := h.agent(stream.Context())
	if err != nil {
		return err
	}
	a.mu.Lock()
	snapshot, sent, facts := a.all(h.full.Load()), len(a.events), a.facts
	first := []*agentv1.WatchEnclavesResponse{factsOf(a.host(h.full.Load()))}
	a.mu.Unlock()
	for _, e := range snapshot {
		first = append(first, &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Changed{Changed: e}})
	}
	first = append(first, &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Synced{Synced: &agentv1.EnclavesSynced{}}})
	if err := sendAll(stream, first); err != nil {
		return err
	}
	for {
		a.mu.Lock()
		wake, news := a.wake, a.events[sent:]
		sent += len(news)
		if a.facts != facts {
			facts = a.facts
			news = append([]*agentv1.WatchEnclavesResponse{factsOf(a.host(h.full.Load()))}, news...)
		}
		a.mu.Unlock()
		if err := sendAll(stream, news); err != nil {
			return err
		}
		select {
		case <-wake:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func factsOf(h *agentv1.Host) *agentv1.WatchEnclavesResponse {
	return &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Host{Host: h}}
}

func sendAll(stream grpc.ServerStreamingServer[agentv1.WatchEnclavesResponse], all []*agentv1.WatchEnclavesResponse) error {
	for _, m := range all {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// PrepareEnclave has nothing to fetch.
func (h *hosts) PrepareEnclave(context.Context, *agentv1.PrepareEnclaveRequest) (*agentv1.PrepareEnclaveResponse, error) {
	return &agentv1.PrepareEnclaveResponse{}, nil
}

// CreateEnclave claims room and boots, at once unless boots are held.
func (h *hosts) CreateEnclave(ctx context.Context, m *agentv1.CreateEnclaveRequest) (*agentv1.CreateEnclaveResponse, error) {
	a, err := h.agent(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	full := h.full.Load()
	if e := a.find(m.GetId(), full); e != nil {
		return &agentv1.CreateEnclaveResponse{Enclave: e}, nil
	}
	if host := a.host(full); host.GetFreeGpus() < m.GetSpec().GetGpus() || host.GetCpus().GetFree() < uint64(m.GetSpec().GetCpus()) {
		return nil, status.Errorf(codes.ResourceExhausted, "%d GPUs free", host.GetFreeGpus())
	}
	e := booted(m.GetId(), m.GetSpec())
	h.created.Add(1)
	h.mu.Lock()
	if h.held {
		e.State, e.Endpoint, e.Stages = agentv1.EnclaveState_ENCLAVE_STATE_BOOTING, "", nil
		h.waiting = append(h.waiting, waiting{a, m.GetId()})
	}
	h.mu.Unlock()
	a.put(e, true)
	return &agentv1.CreateEnclaveResponse{Enclave: e}, nil
}

// boot ends the boot of an enclave that was held.
func (a *agent) boot(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.changed[id]; e.GetClaimed() {
		a.put(booted(id, e.GetSpec()), false)
	}
}

// StopEnclave stops at once and gives the room back.
func (h *hosts) StopEnclave(ctx context.Context, m *agentv1.StopEnclaveRequest) (*agentv1.StopEnclaveResponse, error) {
	a, err := h.agent(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.find(m.GetId(), h.full.Load())
	if e == nil {
		return nil, status.Error(codes.NotFound, "no such enclave")
	}
	e.State, e.Claimed, e.Endpoint, e.Gpus = agentv1.EnclaveState_ENCLAVE_STATE_STOPPED, false, "", nil
	a.put(e, true)
	return &agentv1.StopEnclaveResponse{Enclave: e}, nil
}

var errGone = errors.New("the simulated hosts have ended")
