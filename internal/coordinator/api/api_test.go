package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

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
		if e := m.GetChanged(); e.GetEndTime() != nil {
			if e.GetStatus() != cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED {
				c.t.Fatalf("update %s ended as %s: %s", e.GetId(), e.GetStatus(), e.GetText())
			}
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

func TestDeployUpdateAndDelete(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	got := c.deploy("api")
	if got.GetStatus() != cv1.ContainerStatus_CONTAINER_STATUS_RUNNING || got.GetSpec().GetDomain() != "api.acme.example.test" || !slices.Equal(got.GetInsecure(), []string{"simulated"}) {
		t.Errorf("container %v, want it running under its own domain and marked", got)
	}
	r, err := c.updates.StartUpdate(t.Context(), &cv1.StartUpdateRequest{
		Org: "acme", Container: "api", Spec: spec("v1.1.0"), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tag"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	u := c.await(r.GetUpdate())
	if u.GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN || u.GetFromTag() != "v1.0.0" || u.GetToTag() != "v1.1.0" || u.GetKind() != "update" {
		t.Errorf("update %v", u)
	}
	revs, err := c.revisions.ListRevisions(t.Context(), &cv1.ListRevisionsRequest{Org: "acme", Container: "api"})
	if err != nil || len(revs.GetRevisions()) != 2 || revs.GetRevisions()[0].GetNumber() != 2 {
		t.Errorf("revisions %v, %v; want 2, newest first", revs, err)
	}
	rev, err := c.revisions.GetRevision(t.Context(), &cv1.GetRevisionRequest{Org: "acme", Container: "api", Number: 1})
	if err != nil || len(rev.GetConfig()) == 0 {
		t.Errorf("revision 1: %v, %v", rev, err)
	}
	c.delete(got)
}

func (c *clients) delete(got *cv1.Container) {
	t := c.t
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := c.containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.containers.DeleteContainer(ctx, &cv1.DeleteContainerRequest{Org: "acme", Name: got.GetUid(), RequestId: "d1"}); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetDeleted().GetName() == "api" {
			break
		}
	}
	if _, err := c.containers.DeleteContainer(ctx, &cv1.DeleteContainerRequest{Org: "acme", Name: got.GetUid(), RequestId: "d1"}); err != nil {
		t.Errorf("the same request again: %v", err)
	}
	_, err = c.containers.GetContainer(ctx, &cv1.GetContainerRequest{Org: "acme", Name: "api"})
	want(t, err, codes.NotFound, "NO_SUCH_CONTAINER")
	routes, err := c.routes.ListRoutes(ctx, &cv1.ListRoutesRequest{})
	if err != nil || len(routes.GetRoutes()) != 0 {
		t.Errorf("routes after the deletion: %v, %v", routes, err)
	}
	if _, err := c.secrets.DeleteSecret(ctx, &cv1.DeleteSecretRequest{Org: "acme", Name: "API_KEY"}); err != nil {
		t.Errorf("the secret is still bound: %v", err)
	}
}

func TestCreateIsRefusedBeforeAnythingBoots(t *testing.T) {
	c := connect(t)
	create := func(s *cv1.ContainerSpec) error {
		_, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: s})
		return err
	}
	want(t, create(&cv1.ContainerSpec{Tag: "v1.0.0"}), codes.InvalidArgument, "INCOMPLETE_SPEC")
	want(t, create(spec("v9")), codes.InvalidArgument, "NO_SUCH_TAG")
	want(t, create(spec("v1.0.0")), codes.InvalidArgument, "NO_SUCH_SECRET")
	c.secret("API_KEY", "one")
	want(t, create(&cv1.ContainerSpec{Repository: "r", Tag: "v1.0.0"}), codes.InvalidArgument, "INPUTS_REFUSED")
	want(t, create(spec("v1.0.0")), codes.ResourceExhausted, "NO_CAPACITY")
	c.host()
	c.deploy("api")
	want(t, create(spec("v1.0.0")), codes.AlreadyExists, "CONTAINER_EXISTS")
	taken := spec("v1.0.0")
	taken.Domain = "api.acme.example.test"
	_, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "two", Spec: taken})
	want(t, err, codes.AlreadyExists, "DOMAIN_TAKEN")
	_, err = c.containers.CopyContainer(t.Context(), &cv1.CopyContainerRequest{Org: "acme", Source: "api", Name: "two", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"status"}}})
	want(t, err, codes.InvalidArgument, "BAD_UPDATE_MASK")
}

func TestARequestIDHasOneEffect(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	m := &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: spec("v1.0.0"), RequestId: "r1"}
	first, err := c.containers.CreateContainer(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.containers.CreateContainer(t.Context(), m)
	if err != nil || again.GetContainer().GetUid() != first.GetContainer().GetUid() || again.GetUpdate().GetId() != first.GetUpdate().GetId() {
		t.Errorf("the second answer is %v, %v", again, err)
	}
	other := &cv1.CreateContainerRequest{Org: "acme", Name: "other", Spec: spec("v1.0.0"), RequestId: "r1"}
	_, err = c.containers.CreateContainer(t.Context(), other)
	want(t, err, codes.AlreadyExists, "REQUEST_ID_REUSED")
	c.await(first.GetUpdate())
	u := &cv1.StartUpdateRequest{Org: "acme", Container: "api", RequestId: "r2"}
	one, err := c.updates.StartUpdate(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	c.await(one.GetUpdate())
	two, err := c.updates.StartUpdate(t.Context(), u)
	if err != nil || two.GetUpdate().GetId() != one.GetUpdate().GetId() {
		t.Errorf("a repeated update is %v, %v; want %s", two.GetUpdate().GetId(), err, one.GetUpdate().GetId())
	}
}

func TestPlansArePinnedAndChangeNothing(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	before := c.deploy("api")
	p, err := c.updates.PlanUpdate(t.Context(), &cv1.PlanUpdateRequest{Org: "acme", Container: "api"})
	if err != nil {
		t.Fatal(err)
	}
	if p.GetPlan().GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN || p.GetPlan().GetRevision() != 1 || !strings.Contains(strings.Join(p.GetPlan().GetWarnings(), " "), "variable LOG_LEVEL") {
		t.Errorf("plan %v, want the same revision and a warning for LOG_LEVEL", p.GetPlan())
	}
	start := &cv1.StartUpdateRequest{Org: "acme", Container: "api", PlanEtag: "stale", Etag: before.GetEtag()}
	_, err = c.updates.StartUpdate(t.Context(), start)
	want(t, err, codes.Aborted, "PLAN_CHANGED")
	start.PlanEtag, start.Etag = p.GetPlan().GetEtag(), "stale"
	_, err = c.updates.StartUpdate(t.Context(), start)
	want(t, err, codes.Aborted, "ETAG_MISMATCH")
	start.Etag, start.ValidateOnly = before.GetEtag(), true
	r, err := c.updates.StartUpdate(t.Context(), start)
	if err != nil || r.GetUpdate() != nil || r.GetPlan() == nil {
		t.Errorf("checked only: %v, %v", r, err)
	}
	after, err := c.containers.GetContainer(t.Context(), &cv1.GetContainerRequest{Org: "acme", Name: "api"})
	if err != nil || after.GetContainer().GetEtag() != before.GetEtag() {
		t.Errorf("planning changed the container: %v, %v", after, err)
	}
	start.ValidateOnly = false
	if _, err := c.updates.StartUpdate(t.Context(), start); err != nil {
		t.Errorf("the plan that was agreed to: %v", err)
	}
	_, err = c.updates.StartUpdate(t.Context(), &cv1.StartUpdateRequest{Org: "acme", Container: "api"})
	if rpc.Code(err) != codes.Aborted && err != nil {
		t.Errorf("a second update gave %v", err)
	}
}

func TestStaleSecretsAreSeenAndGo(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	c.deploy("api")
	if _, err := c.secrets.SetSecret(t.Context(), &cv1.SetSecretRequest{Org: "acme", Name: "API_KEY", Value: []byte("two")}); err != nil {
		t.Fatal(err)
	}
	s, err := c.secrets.GetSecret(t.Context(), &cv1.GetSecretRequest{Org: "acme", Name: "API_KEY"})
	if err != nil || s.GetSecret().GetVersion() != 2 || !slices.Equal(s.GetSecret().GetStaleIn(), []string{"api"}) {
		t.Errorf("secret %v, %v; want version 2, stale in api", s, err)
	}
	stale := func() []string {
		r, err := c.containers.GetContainer(t.Context(), &cv1.GetContainerRequest{Org: "acme", Name: "api"})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetContainer().GetStaleSecrets()
	}
	if got := stale(); !slices.Equal(got, []string{"API_KEY"}) {
		t.Errorf("stale are %v, want API_KEY", got)
	}
	r, err := c.updates.StartUpdate(t.Context(), &cv1.StartUpdateRequest{Org: "acme", Container: "api"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.GetPlan().GetSecretsRefreshed(); !slices.Equal(got, []string{"API_KEY"}) {
		t.Errorf("the plan refreshes %v", got)
	}
	c.await(r.GetUpdate())
	if got := stale(); len(got) != 0 {
		t.Errorf("after the redeploy %v are stale", got)
	}
	_, err = c.secrets.DeleteSecret(t.Context(), &cv1.DeleteSecretRequest{Org: "acme", Name: "API_KEY"})
	want(t, err, codes.FailedPrecondition, "SECRET_BOUND")
}

func TestSecrets(t *testing.T) {
	c := connect(t)
	ctx := t.Context()
	_, err := c.secrets.SetSecret(ctx, &cv1.SetSecretRequest{Org: "acme", Name: "A", Value: []byte("x")})
	want(t, err, codes.NotFound, "NO_SUCH_SECRET")
	c.secret("A", "x")
	_, err = c.secrets.CreateSecret(ctx, &cv1.CreateSecretRequest{Org: "acme", Name: "A", Value: []byte("x")})
	want(t, err, codes.AlreadyExists, "SECRET_EXISTS")
	_, err = c.secrets.SetSecret(ctx, &cv1.SetSecretRequest{Org: "acme", Name: "A", Value: []byte("y"), Etag: "zz"})
	want(t, err, codes.Aborted, "ETAG_MISMATCH")
	set := &cv1.SetSecretRequest{Org: "acme", Name: "A", Value: []byte("y"), RequestId: "s1"}
	for range 2 {
		r, err := c.secrets.SetSecret(ctx, set)
		if err != nil || r.GetSecret().GetVersion() != 2 {
			t.Errorf("set: %v, %v; want version 2 once", r, err)
		}
	}
	if r, err := c.secrets.CreateSecret(ctx, &cv1.CreateSecretRequest{Org: "acme", Name: "B", Value: []byte("x"), ValidateOnly: true}); err != nil || r.GetSecret().GetName() != "B" {
		t.Errorf("checked only: %v, %v", r, err)
	}
	for i := range 5 {
		c.secret(fmt.Sprintf("P%d", i), "x")
	}
	var names []string
	token := ""
	for {
		r, err := c.secrets.ListSecrets(ctx, &cv1.ListSecretsRequest{Org: "acme", PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.GetSecrets() {
			names = append(names, s.GetName())
		}
		if token = r.GetNextPageToken(); token == "" {
			break
		}
	}
	if want := []string{"A", "P0", "P1", "P2", "P3", "P4"}; !slices.Equal(names, want) {
		t.Errorf("listed %v, want %v", names, want)
	}
	if _, err := c.secrets.DeleteSecret(ctx, &cv1.DeleteSecretRequest{Org: "acme", Name: "A"}); err != nil {
		t.Error(err)
	}
	_, err = c.secrets.GetSecret(ctx, &cv1.GetSecretRequest{Org: "acme", Name: "A"})
	want(t, err, codes.NotFound, "NO_SUCH_SECRET")
}

// TestAWatchResumesWhereItWasLeft is what I10 asks of the API: a snapshot and
// the changes after its token are what a later listing says.
func TestAWatchResumesWhereItWasLeft(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv()
	if err != nil || m.GetSynced() == nil || m.GetResumeToken() == "" {
		t.Fatalf("an empty snapshot is %v, %v", m, err)
	}
	cancel()
	last := c.deploy("api")
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	s, err = c.containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: "acme", ResumeToken: m.GetResumeToken()})
	if err != nil {
		t.Fatal(err)
	}
	for first := true; ; first = false {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if first && m.GetChanged().GetStatus() != cv1.ContainerStatus_CONTAINER_STATUS_DEPLOYING {
			t.Errorf("the first change is %v, want the creation", m)
		}
		if m.GetChanged().GetEtag() == last.GetEtag() {
			break
		}
	}
	for _, bad := range []string{"nonsense", m.GetResumeToken() + "A"} {
		s, err := c.containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: "acme", ResumeToken: bad})
		if err == nil {
			_, err = s.Recv()
		}
		want(t, err, codes.InvalidArgument, "BAD_RESUME_TOKEN")
	}
	u, err := c.updates.WatchUpdates(ctx, &cv1.WatchUpdatesRequest{Org: "acme", ResumeToken: m.GetResumeToken()})
	if err == nil {
		_, err = u.Recv()
	}
	want(t, err, codes.InvalidArgument, "BAD_RESUME_TOKEN")
}

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
