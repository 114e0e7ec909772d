package api

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

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
	until := func(is func(*cv1.WatchContainersResponse) bool) {
		t.Helper()
		for {
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if is(m) {
				return
			}
		}
	}
	until(func(m *cv1.WatchContainersResponse) bool { return m.GetSynced() != nil })
	if _, err := c.containers.DeleteContainer(ctx, &cv1.DeleteContainerRequest{Org: "acme", Name: got.GetUid(), RequestId: "d1"}); err != nil {
		t.Fatal(err)
	}
	until(func(m *cv1.WatchContainersResponse) bool { return m.GetDeleted().GetName() == "api" })
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

// TestWhatIsRefusedSupersedesNothing: an update in progress ends only for one that
// can be had.
func TestWhatIsRefusedSupersedesNothing(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	c.deploy("api")
	held, err := c.updates.StartUpdate(t.Context(), &cv1.StartUpdateRequest{Org: "acme", Container: "api", Options: &cv1.UpdateOptions{Hold: true}})
	if err != nil {
		t.Fatal(err)
	}
	u := c.until(held.GetUpdate(), func(u *cv1.Update) bool { return u.GetStep() == cv1.UpdateStep_UPDATE_STEP_HOLD })
	supersede := func(tag, etag string) (*cv1.Update, error) {
		r, err := c.updates.StartUpdate(t.Context(), &cv1.StartUpdateRequest{
			Org: "acme", Container: "api", Etag: etag, Spec: spec(tag), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tag"}},
			Options: &cv1.UpdateOptions{Supersede: true},
		})
		return r.GetUpdate(), err
	}
	_, err = supersede("v9", "")
	want(t, err, codes.InvalidArgument, "NO_SUCH_TAG")
	_, err = supersede("v1.1.0", "stale")
	want(t, err, codes.Aborted, "ETAG_MISMATCH")
	got, err := c.updates.GetUpdate(t.Context(), &cv1.GetUpdateRequest{Org: "acme", Container: "api", Id: u.GetId()})
	if err != nil || got.GetUpdate().GetStep() != cv1.UpdateStep_UPDATE_STEP_HOLD {
		t.Fatalf("the held update is in %s (%v), expected it untouched", got.GetUpdate().GetStep(), err)
	}
	now, err := c.containers.GetContainer(t.Context(), &cv1.GetContainerRequest{Org: "acme", Name: "api"})
	if err != nil {
		t.Fatal(err)
	}
	next, err := supersede("v1.1.0", now.GetContainer().GetEtag())
	if err != nil {
		t.Fatalf("with the etag that was read: %v", err)
	}
	c.await(next)
}

func TestSettingsThatAreTooLargeAreRefused(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	large := spec("v1.0.0")
	large.Variables = map[string]string{"LOG_LEVEL": strings.Repeat("<", 20_000)} // six bytes each in a record
	_, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: large})
	want(t, err, codes.InvalidArgument, "SPEC_TOO_LARGE")
	large.Variables["LOG_LEVEL"] = strings.Repeat("x", 32_000)
	if _, err := c.containers.CreateContainer(t.Context(), &cv1.CreateContainerRequest{Org: "acme", Name: "api", Spec: large}); err != nil {
		t.Errorf("the largest variable: %v", err)
	}
}
