package api

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

func TestHosts(t *testing.T) {
	c := connect(t)
	ctx := t.Context()
	_, err := c.hosts.AddHost(ctx, &cv1.AddHostRequest{Name: "h1", Address: "nonsense"})
	want(t, err, codes.InvalidArgument, "BAD_ADDRESS")
	c.host()
	_, err = c.hosts.AddHost(ctx, &cv1.AddHostRequest{Name: "h1", Address: "h1:2"})
	want(t, err, codes.AlreadyExists, "HOST_EXISTS")
	_, err = c.hosts.GetHost(ctx, &cv1.GetHostRequest{Name: "h9"})
	want(t, err, codes.NotFound, "NO_SUCH_HOST")
	c.secret("API_KEY", "one")
	c.deploy("api")
	_, err = c.hosts.RemoveHost(ctx, &cv1.RemoveHostRequest{Name: "h1"})
	want(t, err, codes.FailedPrecondition, "HOST_IN_USE")
	d, err := c.hosts.DrainHost(ctx, &cv1.DrainHostRequest{Name: "h1"})
	if err != nil || !d.GetHost().GetCordoned() || len(d.GetMoved()) != 0 || len(d.GetStays()) != 1 || d.GetStays()[0].GetReason() != "STRATEGY_UNAVAILABLE" {
		t.Errorf("drain: %v, %v; want the host cordoned and api staying for want of room", d, err)
	}
	_, err = c.containers.CopyContainer(ctx, &cv1.CopyContainerRequest{Org: "acme", Source: "api", Name: "two"})
	want(t, err, codes.ResourceExhausted, "NO_CAPACITY")
	if _, err := c.hosts.UncordonHost(ctx, &cv1.UncordonHostRequest{Name: "h1"}); err != nil {
		t.Fatal(err)
	}
	r, err := c.containers.CopyContainer(ctx, &cv1.CopyContainerRequest{Org: "acme", Source: "api", Name: "two"})
	if err != nil {
		t.Fatal(err)
	}
	c.await(r.GetUpdate())
	if r.GetContainer().GetSpec().GetDomain() != "two.acme.example.test" {
		t.Errorf("the copy's domain is %s", r.GetContainer().GetSpec().GetDomain())
	}
	if _, err := c.hosts.RemoveHost(ctx, &cv1.RemoveHostRequest{Name: "h1", Force: true}); err != nil {
		t.Errorf("force: %v", err)
	}
}

func TestLogsAndEvents(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	got := c.deploy("api")
	s, err := c.containers.StreamLogs(t.Context(), &cv1.StreamLogsRequest{Org: "acme", Name: "api"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv()
	if err != nil || string(m.GetChunk()) != "log of "+got.GetActiveEnclave() || m.GetEnclave() != got.GetActiveEnclave() {
		t.Errorf("log %v, %v", m, err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the log: %v", err)
	}
	s, err = c.containers.StreamLogs(t.Context(), &cv1.StreamLogsRequest{Org: "acme", Name: "api", Enclave: "other"})
	if err == nil {
		_, err = s.Recv()
	}
	want(t, err, codes.NotFound, "NO_SUCH_ENCLAVE")
	events, err := c.events.ListEvents(t.Context(), &cv1.ListEventsRequest{Org: "acme", Container: "api"})
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, e := range events.GetEvents() {
		reasons = append(reasons, e.GetReason())
	}
	if want := []string{"UPDATE_STARTED", "SWITCHED", "UPDATE_SUCCEEDED"}; !slices.Equal(reasons, want) {
		t.Errorf("events %v, want %v", reasons, want)
	}
}

func TestGatewaysWatchAndAcknowledge(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := c.routes.WatchRoutes(ctx, &cv1.WatchRoutesRequest{Gateway: "gw1"})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err != nil || m.GetSynced() == nil || m.GetFence().GetClusterId() != "cl" {
		t.Fatalf("first message %v, %v", m, err)
	}
	r, err := c.containers.CreateContainer(ctx, &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: spec("v1.0.0")})
	if err != nil {
		t.Fatal(err)
	}
	acknowledge(t, c, s)
	c.await(r.GetUpdate())
}

// acknowledge follows the routes until one serves, and says so.
func acknowledge(t *testing.T, c *clients, s grpc.ServerStreamingClient[cv1.WatchRoutesResponse]) {
	t.Helper()
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		route := m.GetChanged()
		if route.GetState() != cv1.RouteState_ROUTE_STATE_SERVING {
			continue
		}
		_, err = c.routes.AcknowledgeRoutes(t.Context(), &cv1.AcknowledgeRoutesRequest{
			Gateway: "gw1", Routes: []*cv1.RouteAck{{Domain: route.GetDomain(), Generation: route.GetGeneration()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}
