package cli

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

type fleetRevisions struct {
	cv1.UnimplementedRevisionServiceServer
	*fleet
}

func (f fleetRevisions) GetRevision(_ context.Context, m *cv1.GetRevisionRequest) (*cv1.GetRevisionResponse, error) {
	for _, r := range f.revisions {
		if r.GetNumber() == m.GetNumber() {
			return &cv1.GetRevisionResponse{Revision: r}, f.took(m)
		}
	}
	return nil, rpc.Error(codes.NotFound, "NO_SUCH_REVISION", "no such revision")
}

func (f fleetRevisions) ListRevisions(_ context.Context, m *cv1.ListRevisionsRequest) (*cv1.ListRevisionsResponse, error) {
	return &cv1.ListRevisionsResponse{Revisions: f.revisions}, f.took(m)
}

type fleetSecrets struct {
	cv1.UnimplementedSecretServiceServer
	*fleet
}

func (f fleetSecrets) secret(name string) (*cv1.Secret, error) {
	i := slices.IndexFunc(f.secrets, func(s *cv1.Secret) bool { return s.GetName() == name })
	if i < 0 {
		return nil, rpc.Error(codes.NotFound, "NO_SUCH_SECRET", "there is no secret "+name)
	}
	return f.secrets[i], nil
}

func (f fleetSecrets) CreateSecret(_ context.Context, m *cv1.CreateSecretRequest) (*cv1.CreateSecretResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	f.values[m.GetName()] = string(m.GetValue())
	return &cv1.CreateSecretResponse{Secret: &cv1.Secret{Org: m.GetOrg(), Name: m.GetName(), Version: 1, CreateTime: ago(0), UpdateTime: ago(0)}}, nil
}

func (f fleetSecrets) SetSecret(_ context.Context, m *cv1.SetSecretRequest) (*cv1.SetSecretResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	s, err := f.secret(m.GetName())
	f.values[m.GetName()] = string(m.GetValue())
	return &cv1.SetSecretResponse{Secret: s}, err
}

func (f fleetSecrets) GetSecret(_ context.Context, m *cv1.GetSecretRequest) (*cv1.GetSecretResponse, error) {
	s, err := f.secret(m.GetName())
	return &cv1.GetSecretResponse{Secret: s}, err
}

func (f fleetSecrets) ListSecrets(_ context.Context, m *cv1.ListSecretsRequest) (*cv1.ListSecretsResponse, error) {
	return &cv1.ListSecretsResponse{Secrets: f.secrets}, f.took(m)
}

func (f fleetSecrets) DeleteSecret(_ context.Context, m *cv1.DeleteSecretRequest) (*cv1.DeleteSecretResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	s, err := f.secret(m.GetName())
	if len(s.GetBoundTo()) > 0 {
		return nil, rpc.Precondition("SECRET_BOUND", m.GetName(), "secret API_KEY is given to api, web: take it from them first")
	}
	return &cv1.DeleteSecretResponse{}, err
}

type fleetHosts struct {
	cv1.UnimplementedHostServiceServer
	*fleet
}

func (f fleetHosts) host(name string) (*cv1.Host, error) {
	i := slices.IndexFunc(f.hosts, func(h *cv1.Host) bool { return h.GetName() == name })
	if i < 0 {
		return nil, rpc.Error(codes.NotFound, "NO_SUCH_HOST", "there is no host "+name+": see `casemate host list`")
	}
	return f.hosts[i], nil
}

func (f fleetHosts) AddHost(_ context.Context, m *cv1.AddHostRequest) (*cv1.AddHostResponse, error) {
	h := &cv1.Host{Name: m.GetName(), Address: m.GetAddress(), Status: cv1.HostStatus_HOST_STATUS_JOINING, CreateTime: ago(0)}
	return &cv1.AddHostResponse{Host: h}, f.took(m)
}

func (f fleetHosts) GetHost(_ context.Context, m *cv1.GetHostRequest) (*cv1.GetHostResponse, error) {
	h, err := f.host(m.GetName())
	return &cv1.GetHostResponse{Host: h}, err
}

func (f fleetHosts) ListHosts(_ context.Context, m *cv1.ListHostsRequest) (*cv1.ListHostsResponse, error) {
	return &cv1.ListHostsResponse{Hosts: f.hosts}, f.took(m)
}

func (f fleetHosts) CordonHost(_ context.Context, m *cv1.CordonHostRequest) (*cv1.CordonHostResponse, error) {
	h, err := f.host(m.GetName())
	if err == nil {
		h.Cordoned = true
	}
	return &cv1.CordonHostResponse{Host: h}, err
}

func (f fleetHosts) UncordonHost(_ context.Context, m *cv1.UncordonHostRequest) (*cv1.UncordonHostResponse, error) {
	h, err := f.host(m.GetName())
	if err == nil {
		h.Cordoned = false
	}
	return &cv1.UncordonHostResponse{Host: h}, err
}

func (f fleetHosts) RemoveHost(_ context.Context, m *cv1.RemoveHostRequest) (*cv1.RemoveHostResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	h, err := f.host(m.GetName())
	if len(h.GetEnclaves()) > 0 && !m.GetForce() {
		return nil, rpc.Precondition("HOST_IN_USE", m.GetName(), "1 enclave runs on gpu-1: stop it or move it first")
	}
	return &cv1.RemoveHostResponse{}, err
}

// DrainHost moves web and leaves llm where it is.
func (f fleetHosts) DrainHost(_ context.Context, m *cv1.DrainHostRequest) (*cv1.DrainHostResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	h, err := f.host(m.GetName())
	if err != nil || len(h.GetEnclaves()) == 0 {
		return &cv1.DrainHostResponse{Host: h}, err
	}
	return &cv1.DrainHostResponse{
		Host:  h,
		Moved: []*cv1.Moved{{Org: "default", Container: "web", Update: "web-u4", ToHost: "gpu-2"}},
		Stays: []*cv1.Stays{{Org: "default", Container: "llm", Reason: "STRATEGY_UNAVAILABLE", Text: "no host has room for a second copy"}},
	}, nil
}

type fleetRoutes struct {
	cv1.UnimplementedRouteServiceServer
	*fleet
}

func (f fleetRoutes) ListRoutes(_ context.Context, m *cv1.ListRoutesRequest) (*cv1.ListRoutesResponse, error) {
	return &cv1.ListRoutesResponse{Routes: f.routes}, f.took(m)
}

type fleetEvents struct {
	cv1.UnimplementedEventServiceServer
	*fleet
}

func (f fleetEvents) ListEvents(_ context.Context, m *cv1.ListEventsRequest) (*cv1.ListEventsResponse, error) {
	return &cv1.ListEventsResponse{Events: f.events}, f.took(m)
}

// WatchEvents sends every event, whatever the token: a watch that begins again.
func (f fleetEvents) WatchEvents(m *cv1.WatchEventsRequest, s grpc.ServerStreamingServer[cv1.WatchEventsResponse]) error {
	if err := f.took(m); err != nil {
		return err
	}
	for i, e := range f.events {
		if _, _, err := f.state(i); err != nil {
			return err
		}
		if err := s.Send(&cv1.WatchEventsResponse{Event: &cv1.WatchEventsResponse_Happened{Happened: e}, ResumeToken: token(i)}); err != nil {
			return err
		}
	}
	return f.idle(s.Context())
}
