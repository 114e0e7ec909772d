package cli

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

type fleetContainers struct {
	cv1.UnimplementedContainerServiceServer
	*fleet
}

func (f fleetContainers) CreateContainer(_ context.Context, m *cv1.CreateContainerRequest) (*cv1.CreateContainerResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	if m.GetValidateOnly() {
		return &cv1.CreateContainerResponse{Plan: f.plan()}, nil
	}
	u, err := f.begin(m.GetPlanEtag())
	return &cv1.CreateContainerResponse{Update: u}, err
}

func (f fleetContainers) CopyContainer(_ context.Context, m *cv1.CopyContainerRequest) (*cv1.CopyContainerResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	if m.GetValidateOnly() {
		return &cv1.CopyContainerResponse{Plan: f.plan()}, nil
	}
	u, err := f.begin(m.GetPlanEtag())
	return &cv1.CopyContainerResponse{Update: u}, err
}

func (f fleetContainers) StartContainer(_ context.Context, m *cv1.StartContainerRequest) (*cv1.StartContainerResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	c, err := f.container(m.GetName())
	if err != nil {
		return nil, err
	}
	if m.GetValidateOnly() {
		return &cv1.StartContainerResponse{Container: c, Plan: f.plan()}, nil
	}
	u, err := f.begin(f.plans[0].GetEtag())
	return &cv1.StartContainerResponse{Container: c, Update: u}, err
}

func (f fleetContainers) GetContainer(_ context.Context, m *cv1.GetContainerRequest) (*cv1.GetContainerResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	c, err := f.container(m.GetName())
	return &cv1.GetContainerResponse{Container: c}, err
}

func (f fleetContainers) ListContainers(_ context.Context, m *cv1.ListContainersRequest) (*cv1.ListContainersResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	return &cv1.ListContainersResponse{Containers: f.containers}, nil
}

func (f fleetContainers) StopContainer(_ context.Context, m *cv1.StopContainerRequest) (*cv1.StopContainerResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	c, err := f.container(m.GetName())
	if err != nil || m.GetValidateOnly() {
		return &cv1.StopContainerResponse{Container: c}, err
	}
	return &cv1.StopContainerResponse{Container: inStatus(c, cv1.ContainerStatus_CONTAINER_STATUS_STOPPING)}, nil
}

func (f fleetContainers) DeleteContainer(_ context.Context, m *cv1.DeleteContainerRequest) (*cv1.DeleteContainerResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	c, err := f.container(m.GetName())
	if err != nil || m.GetValidateOnly() {
		return &cv1.DeleteContainerResponse{Container: c}, err
	}
	return &cv1.DeleteContainerResponse{Container: inStatus(c, cv1.ContainerStatus_CONTAINER_STATUS_DELETING)}, nil
}

func inStatus(c *cv1.Container, s cv1.ContainerStatus) *cv1.Container {
	c = proto.CloneOf(c)
	c.Status = s
	return c
}

// WatchContainers sends the states in goes. A break comes before the state with
// its index, and the watch goes on after it.
func (f fleetContainers) WatchContainers(m *cv1.WatchContainersRequest, s grpc.ServerStreamingServer[cv1.WatchContainersResponse]) error {
	if err := f.took(m); err != nil {
		return err
	}
	i, err := position(m.GetResumeToken())
	if err != nil {
		return err
	}
	for i++; i < len(f.goes); i++ {
		if _, _, err := f.state(i); err != nil {
			return err
		}
		r := &cv1.WatchContainersResponse{ResumeToken: token(i), Event: &cv1.WatchContainersResponse_Changed{Changed: f.goes[i]}}
		if f.goes[i] == nil {
			r.Event = &cv1.WatchContainersResponse_Deleted{Deleted: &cv1.Deleted{Org: m.GetOrg(), Name: m.GetName()}}
		}
		if err := s.Send(r); err != nil {
			return err
		}
	}
	return f.idle(s.Context())
}

func (f fleetContainers) AttestContainer(_ context.Context, m *cv1.AttestContainerRequest) (*cv1.AttestContainerResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	return &cv1.AttestContainerResponse{Enclave: "c7f3a1-r3-4", Host: "gpu-1", Verdict: f.judged}, nil
}

func (f fleetContainers) StreamLogs(m *cv1.StreamLogsRequest, s grpc.ServerStreamingServer[cv1.StreamLogsResponse]) error {
	if err := f.took(m); err != nil {
		return err
	}
	for _, chunk := range f.logs {
		if err := s.Send(&cv1.StreamLogsResponse{Chunk: chunk, Enclave: "c7f3a1-r3-4"}); err != nil {
			return err
		}
	}
	if m.GetFollow() {
		return f.idle(s.Context())
	}
	return nil
}
