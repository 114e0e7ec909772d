package api

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/planner"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

// clients are the services' clients.
type clients struct {
	t          *testing.T
	containers cv1.ContainerServiceClient
	updates    cv1.UpdateServiceClient
	revisions  cv1.RevisionServiceClient
	secrets    cv1.SecretServiceClient
	hosts      cv1.HostServiceClient
	routes     cv1.RouteServiceClient
	events     cv1.EventServiceClient
}

func connect(t *testing.T) *clients {
	t.Helper()
	return over(t, start(t))
}

// connectWith is connect with these tags, judged by this policy.
func connectWith(t *testing.T, from tags, judge planner.Manifests) *clients {
	t.Helper()
	return over(t, startWith(t, memory.New(memory.Config{}), from, judge))
}

func over(t *testing.T, c *grpc.ClientConn) *clients {
	t.Helper()
	return &clients{
		t: t, containers: cv1.NewContainerServiceClient(c), updates: cv1.NewUpdateServiceClient(c),
		revisions: cv1.NewRevisionServiceClient(c), secrets: cv1.NewSecretServiceClient(c),
		hosts: cv1.NewHostServiceClient(c), routes: cv1.NewRouteServiceClient(c), events: cv1.NewEventServiceClient(c),
	}
}

// host adds h1 and waits until it is ready.
func (c *clients) host() {
	c.t.Helper()
	if _, err := c.hosts.AddHost(c.t.Context(), &cv1.AddHostRequest{Name: "h1", Address: "h1:1"}); err != nil {
		c.t.Fatal(err)
	}
	c.ready()
}

// ready waits until the host is.
func (c *clients) ready() {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	s, err := c.hosts.WatchHosts(ctx, &cv1.WatchHostsRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	for {
		m, err := s.Recv()
		if err != nil {
			c.t.Fatal(err)
		}
		if m.GetChanged().GetStatus() == cv1.HostStatus_HOST_STATUS_READY {
			return
		}
	}
}

func (c *clients) secret(name, value string) {
	c.t.Helper()
	if _, err := c.secrets.CreateSecret(c.t.Context(), &cv1.CreateSecretRequest{Org: "acme", Name: name, Value: []byte(value)}); err != nil {
		c.t.Fatal(err)
	}
}

func spec(tag string) *cv1.ContainerSpec {
	return &cv1.ContainerSpec{Repository: "https://git.test/r", Tag: tag, Secrets: []string{"API_KEY"}}
}

// deploy creates a container and waits until it serves.
func (c *clients) deploy(name string) *cv1.Container {
	c.t.Helper()
	r, err := c.containers.CreateContainer(c.t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: name, Spec: spec("v1.0.0")})
	if err != nil {
		c.t.Fatalf("create: %v", err)
	}
	c.await(r.GetUpdate())
	g, err := c.containers.GetContainer(c.t.Context(), &cv1.GetContainerRequest{Org: "acme", Name: name})
	if err != nil {
		c.t.Fatal(err)
	}
	return g.GetContainer()
}

// await watches an update to its end, which must be a success.
func (c *clients) await(u *cv1.Update) *cv1.Update {
	c.t.Helper()
	e := c.until(u, func(u *cv1.Update) bool { return u.GetEndTime() != nil })
	if e.GetStatus() != cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED {
		c.t.Fatalf("update %s ended as %s: %s", e.GetId(), e.GetStatus(), e.GetText())
	}
	return e
}

// until watches an update until it is as wanted.
func (c *clients) until(u *cv1.Update, wanted func(*cv1.Update) bool) *cv1.Update {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	s, err := c.updates.WatchUpdates(ctx, &cv1.WatchUpdatesRequest{Org: u.GetOrg(), Container: u.GetContainer(), Id: u.GetId()})
	if err != nil {
		c.t.Fatal(err)
	}
	for {
		m, err := s.Recv()
		if err != nil {
			c.t.Fatal(err)
		}
		if e := m.GetChanged(); e != nil && wanted(e) {
			return e
		}
	}
}

func want(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	if rpc.Code(err) != code || rpc.Reason(err) != reason {
		t.Errorf("got %v %s (%v), want %v %s", rpc.Code(err), rpc.Reason(err), err, code, reason)
	}
}
