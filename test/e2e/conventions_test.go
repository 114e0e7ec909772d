package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

func TestARequestIDHasOneEffect(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	ctx := bounded(t)
	create := &cv1.CreateContainerRequest{Org: dev.Org, Name: "once", Spec: f.versions(t, "once", app{}, app{}), RequestId: "once-create"}
	first, err := f.Containers.CreateContainer(ctx, create)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.Containers.CreateContainer(ctx, create)
	if err != nil || again.GetContainer().GetUid() != first.GetContainer().GetUid() || again.GetUpdate().GetId() != first.GetUpdate().GetId() {
		t.Errorf("creating again gave %v, %v", again, err)
	}
	_, err = f.Containers.CreateContainer(ctx, &cv1.CreateContainerRequest{Org: dev.Org, Name: "twice", Spec: create.GetSpec(), RequestId: "once-create"})
	wantError(t, err, codes.AlreadyExists, "REQUEST_ID_REUSED")
	f.ended(t, first.GetUpdate(), succeeded)
	begin := &cv1.StartUpdateRequest{
		Org: dev.Org, Container: "once", Spec: &cv1.ContainerSpec{Tag: "v2"}, UpdateMask: mask("tag"), Options: hold, RequestId: "once-start",
	}
	u1, err := f.Updates.StartUpdate(ctx, begin)
	if err != nil {
		t.Fatal(err)
	}
	u2, err := f.Updates.StartUpdate(ctx, begin)
	if err != nil || u2.GetUpdate().GetId() != u1.GetUpdate().GetId() {
		t.Errorf("starting again gave %v, %v", u2, err)
	}
	u := f.at(t, u1.GetUpdate(), cv1.UpdateStep_UPDATE_STEP_HOLD)
	accept := &cv1.AcceptUpdateRequest{Org: dev.Org, Container: "once", Id: u.GetId(), Etag: u.GetEtag(), RequestId: "once-accept"}
	for range 2 {
		if _, err := f.Updates.AcceptUpdate(ctx, accept); err != nil {
			t.Errorf("accept, once or again: %v", err)
		}
	}
	f.ended(t, u, succeeded)
	if _, err := f.Updates.AcceptUpdate(ctx, accept); err != nil {
		t.Errorf("accepted again after the end: %v", err)
	}
	u = f.begin(t, "once", "v1", hold)
	cancel := &cv1.CancelUpdateRequest{Org: dev.Org, Container: "once", RequestId: "once-cancel"}
	for range 2 {
		if r, err := f.Updates.CancelUpdate(ctx, cancel); err != nil || r.GetUpdate().GetId() != u.GetId() {
			t.Errorf("cancel, once or again: %v %v", r, err)
		}
	}
	f.ended(t, u, cancelled)
	// The id belongs to that update: the next one is not cancelled by it.
	u = f.begin(t, "once", "v1", hold)
	if r, err := f.Updates.CancelUpdate(ctx, cancel); err != nil || r.GetUpdate().GetStatus() != cancelled {
		t.Errorf("cancelled again: %v %v", r, err)
	}
	f.at(t, u, cv1.UpdateStep_UPDATE_STEP_HOLD)
	f.cancel(t, u)
	f.ended(t, u, cancelled)
	list, err := f.Updates.ListUpdates(ctx, &cv1.ListUpdatesRequest{Org: dev.Org, Container: "once"})
	if err != nil || len(list.GetUpdates()) != 4 {
		t.Errorf("%d updates, want 4: %v", len(list.GetUpdates()), err)
	}
}

func TestADeletionWithARequestIDIsRepeatable(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "erased", app{})
	r := &cv1.DeleteContainerRequest{Org: dev.Org, Name: "erased", RequestId: "erase"}
	if _, err := f.Containers.DeleteContainer(bounded(t), r); err != nil {
		t.Fatal(err)
	}
	f.gone(t, "erased")
	if _, err := f.Containers.DeleteContainer(bounded(t), r); err != nil {
		t.Errorf("deleted again: %v", err)
	}
}

func TestAnOldEtagIsRefused(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "tagged", app{}, app{})
	old := f.get(t, "tagged").GetEtag()
	f.updated(t, "tagged", "v2", nil, succeeded)
	ctx := bounded(t)
	_, err := f.Updates.StartUpdate(ctx, &cv1.StartUpdateRequest{Org: dev.Org, Container: "tagged", Etag: old})
	wantError(t, err, codes.Aborted, "ETAG_MISMATCH")
	_, err = f.Containers.StopContainer(ctx, &cv1.StopContainerRequest{Org: dev.Org, Name: "tagged", Etag: old})
	wantError(t, err, codes.Aborted, "ETAG_MISMATCH")
	_, err = f.Containers.DeleteContainer(ctx, &cv1.DeleteContainerRequest{Org: dev.Org, Name: "tagged", Etag: old})
	wantError(t, err, codes.Aborted, "ETAG_MISMATCH")
	plan, err := f.Updates.PlanUpdate(ctx, &cv1.PlanUpdateRequest{Org: dev.Org, Container: "tagged", Spec: &cv1.ContainerSpec{Tag: "v1"}, UpdateMask: mask("tag")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Updates.StartUpdate(ctx, &cv1.StartUpdateRequest{Org: dev.Org, Container: "tagged", PlanEtag: plan.GetPlan().GetEtag()})
	wantError(t, err, codes.Aborted, "PLAN_CHANGED", "again")
	if c := f.get(t, "tagged"); c.GetStatus() != isRunning || c.GetActiveUpdate() != "" {
		t.Errorf("refused calls have changed the container: %v", c)
	}
}

func TestValidateOnlyChangesNothing(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	ctx := bounded(t)
	spec := f.versions(t, "maybe", app{}, app{})
	r, err := f.Containers.CreateContainer(ctx, &cv1.CreateContainerRequest{Org: dev.Org, Name: "maybe", Spec: spec, ValidateOnly: true})
	if err != nil || r.GetPlan().GetHost() == "" || r.GetUpdate() != nil {
		t.Errorf("a creation that was only checked gave %v, %v", r, err)
	}
	_, err = f.Containers.GetContainer(ctx, &cv1.GetContainerRequest{Org: dev.Org, Name: "maybe"})
	wantError(t, err, codes.NotFound, "NO_SUCH_CONTAINER")
	f.deployed(t, "maybe", spec)
	before := f.get(t, "maybe").GetEtag()
	u, err := f.Updates.StartUpdate(ctx, &cv1.StartUpdateRequest{Org: dev.Org, Container: "maybe", Spec: &cv1.ContainerSpec{Tag: "v2"}, UpdateMask: mask("tag"), ValidateOnly: true})
	if err != nil || u.GetUpdate() != nil || u.GetPlan().GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN || u.GetPlan().GetReason() == "" {
		t.Errorf("an update that was only checked gave %v, %v", u, err)
	}
	if len(u.GetPlan().GetLastBoots()) != 1 || len(u.GetPlan().GetHosts()) != 2 {
		t.Errorf("the plan tells of %d boots and %d hosts, want 1 and 2", len(u.GetPlan().GetLastBoots()), len(u.GetPlan().GetHosts()))
	}
	if _, err := f.Containers.StopContainer(ctx, &cv1.StopContainerRequest{Org: dev.Org, Name: "maybe", ValidateOnly: true}); err != nil {
		t.Error(err)
	}
	if _, err := f.Containers.DeleteContainer(ctx, &cv1.DeleteContainerRequest{Org: dev.Org, Name: "maybe", ValidateOnly: true}); err != nil {
		t.Error(err)
	}
	if after := f.get(t, "maybe"); after.GetEtag() != before || after.GetStatus() != isRunning {
		t.Errorf("calls that only check have changed the container: %v", after)
	}
}

func TestListsComeInPagesThatHaveEverythingOnce(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	ctx := bounded(t)
	var want []string
	for n := range 5 {
		name := fmt.Sprintf("PAGED_%d", n)
		want = append(want, name)
		if _, err := f.Secrets.CreateSecret(ctx, &cv1.CreateSecretRequest{Org: "pages", Name: name, Value: secret("x")}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for token := ""; ; {
		r, err := f.Secrets.ListSecrets(ctx, &cv1.ListSecretsRequest{Org: "pages", PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(r.GetSecrets()); n > 2 {
			t.Errorf("a page of 2 has %d", n)
		}
		for _, s := range r.GetSecrets() {
			got = append(got, s.GetName())
		}
		if token = r.GetNextPageToken(); token == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages have %v, want %v", got, want)
	}
	_, err := f.Secrets.ListSecrets(ctx, &cv1.ListSecretsRequest{Org: "pages", PageToken: "no token"})
	wantError(t, err, codes.InvalidArgument, "BAD_PAGE_TOKEN")
	hosts, err := f.Hosts.ListHosts(ctx, &cv1.ListHostsRequest{PageSize: 1})
	if err != nil || len(hosts.GetHosts()) != 1 || hosts.GetNextPageToken() == "" {
		t.Errorf("the first of two hosts is %v, %v", hosts, err)
	}
}

func TestAWatchGoesOnWhereItWasBroken(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "resume", app{}, app{boot: 200 * time.Millisecond})
	u := f.begin(t, "resume", "v2", hold)
	all := f.watchFrom(t, u, "", func(u *cv1.Update) bool { return u.GetStep() == cv1.UpdateStep_UPDATE_STEP_HOLD })
	last := all[len(all)-1]
	// From the token of any message, exactly the messages after it come again. The
	// snapshot's messages have no token: it is whole only once it is synced.
	for n, m := range all[:len(all)-1] {
		if m.token == "" {
			continue
		}
		rest := f.watchFrom(t, u, m.token, func(u *cv1.Update) bool { return u.GetEtag() == last.etag })
		if !slices.Equal(rest, all[n+1:]) {
			t.Errorf("after message %d came %v, want %v", n, rest, all[n+1:])
		}
	}
	f.cancel(t, u)
	f.ended(t, u, cancelled)
	stream, err := f.Updates.WatchUpdates(bounded(t), &cv1.WatchUpdatesRequest{Org: dev.Org, Container: "resume", ResumeToken: "no token"})
	if err == nil {
		_, err = stream.Recv()
	}
	wantError(t, err, codes.InvalidArgument, "BAD_RESUME_TOKEN")
}

// seen is a message of a watch.
type seen struct{ token, etag string }

// watchFrom collects the changes of an update from a token until last.
func (f *fleet) watchFrom(t *testing.T, u *cv1.Update, token string, last func(*cv1.Update) bool) []seen {
	t.Helper()
	stream, err := f.Updates.WatchUpdates(bounded(t), &cv1.WatchUpdatesRequest{Org: dev.Org, Container: u.GetContainer(), Id: u.GetId(), ResumeToken: token})
	if err != nil {
		t.Fatal(err)
	}
	var out []seen
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		c := m.GetChanged()
		if c == nil {
			continue
		}
		out = append(out, seen{m.GetResumeToken(), c.GetEtag()})
		if last(c) {
			return out
		}
	}
}
