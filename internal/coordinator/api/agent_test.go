package api

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// fleetAgent is a host on which every enclave is healthy at once.
type fleetAgent struct {
	agentv1.UnimplementedHostServiceServer
	agentv1.UnimplementedEnclaveServiceServer

	mu       sync.Mutex
	enclaves map[string]*agentv1.Enclave
	changed  chan struct{}
}

func newFleetAgent() *fleetAgent {
	return &fleetAgent{enclaves: map[string]*agentv1.Enclave{}, changed: make(chan struct{})}
}

func (a *fleetAgent) put(e *agentv1.Enclave) *agentv1.Enclave {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.enclaves[e.GetId()] = e
	close(a.changed)
	a.changed = make(chan struct{})
	return e
}

func (a *fleetAgent) WatchHost(_ *agentv1.WatchHostRequest, s grpc.ServerStreamingServer[agentv1.WatchHostResponse]) error {
	room := &agentv1.Capacity{Total: 1 << 20, Free: 1 << 20}
	err := s.Send(&agentv1.WatchHostResponse{Host: &agentv1.Host{
		Name: "h1", Profile: agentv1.CvmProfile_CVM_PROFILE_NONE, Cpus: room, MemoryMib: room,
		GpuOffers: []uint32{0}, GpuCounts: []uint32{0},
	}})
	if err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func (a *fleetAgent) WatchEnclaves(_ *agentv1.WatchEnclavesRequest, s grpc.ServerStreamingServer[agentv1.WatchEnclavesResponse]) error {
	if err := s.Send(&agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Synced{Synced: &agentv1.EnclavesSynced{}}}); err != nil {
		return err
	}
	for {
		a.mu.Lock()
		changed := a.changed
		var all []*agentv1.Enclave
		for _, e := range a.enclaves {
			all = append(all, e)
		}
		a.mu.Unlock()
		for _, e := range all {
			if err := s.Send(&agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Changed{Changed: e}}); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

func (a *fleetAgent) PrepareEnclave(context.Context, *agentv1.PrepareEnclaveRequest) (*agentv1.PrepareEnclaveResponse, error) {
	return &agentv1.PrepareEnclaveResponse{}, nil
}

func (a *fleetAgent) CreateEnclave(_ context.Context, m *agentv1.CreateEnclaveRequest) (*agentv1.CreateEnclaveResponse, error) {
	return &agentv1.CreateEnclaveResponse{Enclave: a.put(&agentv1.Enclave{
		Id: m.GetId(), Spec: m.GetSpec(), State: agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY, Claimed: true,
		ClusterId: m.GetFence().GetClusterId(), Endpoint: "10.0.0.1:443",
	})}, nil
}

func (a *fleetAgent) StopEnclave(_ context.Context, m *agentv1.StopEnclaveRequest) (*agentv1.StopEnclaveResponse, error) {
	return &agentv1.StopEnclaveResponse{Enclave: a.put(&agentv1.Enclave{
		Id: m.GetId(), State: agentv1.EnclaveState_ENCLAVE_STATE_STOPPED, ClusterId: m.GetFence().GetClusterId(),
	})}, nil
}

func (a *fleetAgent) StreamConsole(m *agentv1.StreamConsoleRequest, s grpc.ServerStreamingServer[agentv1.StreamConsoleResponse]) error {
	return s.Send(&agentv1.StreamConsoleResponse{Chunk: []byte("log of " + m.GetId())})
}
