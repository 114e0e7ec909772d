package e2e

import (
	"slices"
	"testing"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

const (
	deploying = cv1.ContainerStatus_CONTAINER_STATUS_DEPLOYING
	isRunning = cv1.ContainerStatus_CONTAINER_STATUS_RUNNING
	hasFailed = cv1.ContainerStatus_CONTAINER_STATUS_FAILED
	stopped   = cv1.ContainerStatus_CONTAINER_STATUS_STOPPED
)

// statuses creates a container and returns what a watcher sees of it until last.
func (f *fleet) statuses(t *testing.T, name string, spec *cv1.ContainerSpec, last cv1.ContainerStatus) []cv1.ContainerStatus {
	t.Helper()
	ctx := bounded(t)
	stream, err := f.Containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: dev.Org})
	if err != nil {
		t.Fatal(err)
	}
	for synced := false; !synced; { // so that it is open before there is anything to see
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		synced = m.GetSynced() != nil
	}
	if _, err := f.Containers.CreateContainer(ctx, &cv1.CreateContainerRequest{Org: dev.Org, Name: name, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	var seen []cv1.ContainerStatus
	for !slices.Contains(seen, last) {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %v: %v", seen, err)
		}
		if c := m.GetChanged(); c.GetName() == name && !slices.Contains(seen, c.GetStatus()) {
			seen = append(seen, c.GetStatus())
		}
	}
	return seen
}

func TestADeploymentIsDeployingThenRunning(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.versions(t, "fresh", app{boot: 200 * time.Millisecond})
	spec.Variables = map[string]string{"LOG_LEVEL": "info"}
	seen := f.statuses(t, "fresh", spec, isRunning)
	if !slices.Equal(seen, []cv1.ContainerStatus{deploying, isRunning}) {
		t.Errorf("a watcher saw %v", seen)
	}
	f.ended(t, &cv1.Update{Org: dev.Org, Container: "fresh", Id: "fresh-u1"}, succeeded)
	c := f.get(t, "fresh")
	if c.GetActiveTag() != "v1" || c.GetActiveRevision() != 1 || len(c.GetActiveCommit()) != 40 || c.GetSpec().GetDomain() != domain("fresh") {
		t.Errorf("the container is %v", c)
	}
	if !slices.Contains(c.GetInsecure(), "simulated") || slices.Contains(c.GetInsecure(), "debug") {
		t.Errorf("what makes it insecure is %v, want simulated", c.GetInsecure())
	}
	if a := f.ask(t, "fresh"); a.Variables["LOG_LEVEL"] != "info" || a.Container != "fresh" {
		t.Errorf("%+v answers", a)
	}
	for _, s := range c.GetStages() {
		if s.GetStatus().String() != "STAGE_STATUS_OK" && s.GetStatus().String() != "STAGE_STATUS_SKIPPED" {
			t.Errorf("boot stage %s is %s", s.GetName(), s.GetStatus())
		}
	}
	if len(c.GetStages()) != 9 {
		t.Errorf("%d boot stages, want 9", len(c.GetStages()))
	}
}

func TestADeploymentThatFailsIsFailedWithTheReason(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	seen := f.statuses(t, "doomed", f.versions(t, "doomed", app{fault: "boot-fails"}, app{}), hasFailed)
	if !slices.Equal(seen, []cv1.ContainerStatus{deploying, hasFailed}) {
		t.Errorf("a watcher saw %v", seen)
	}
	c := f.get(t, "doomed")
	if c.GetReason() == "" || c.GetText() == "" || c.GetActiveEnclave() != "" {
		t.Errorf("the container is %v", c)
	}
	f.refused(t, domain("doomed"))
	says(t, f.ok(t, "container", "get", "doomed"), "FAILED", c.GetReason())
	f.updated(t, "doomed", "v2", nil, succeeded)
	f.is(t, "doomed", isRunning)
	if a := f.ask(t, "doomed"); a.Tag != "v2" {
		t.Errorf("%+v answers after a redeployment", a)
	}
}

func TestDeployFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.versions(t, "typed", app{boot: 100 * time.Millisecond})
	out := f.ok(t, "container", "create", "typed", "--repo", spec.GetRepository(), "--tag", "v1", "--variable", "LOG_LEVEL=debug", "--yes")
	says(t, out, "typed")
	says(t, f.ok(t, "container", "list"), "typed", "RUNNING")
	says(t, f.ok(t, "container", "get", "typed"), "RUNNING", "v1", "LOG_LEVEL=debug")
	var c cv1.Container
	f.json(t, &c, "container", "get", "typed")
	if c.GetActiveTag() != "v1" || c.GetStatus() != isRunning {
		t.Errorf("as JSON the container is %v", &c)
	}
	says(t, f.ok(t, "container", "events", "typed"), "UPDATE_STARTED", "SWITCHED", "UPDATE_SUCCEEDED")
	says(t, f.ok(t, "container", "revisions", "typed"), "v1")
	says(t, f.ok(t, "route", "list"), domain("typed"))
	says(t, f.ok(t, "attest", "container", "typed"), "evidence is accepted", "key_binding", "release_manifest", "simulated")
	if out := f.ok(t, "container", "logs", "typed"); out == "" {
		t.Error("the console log is empty")
	}
	r := f.fails(t, 1, "CONTAINER_EXISTS", "container", "create", "typed", "--repo", spec.GetRepository(), "--tag", "v1", "--yes")
	says(t, r.err, "next:")
	f.fails(t, 1, "NO_SUCH_CONTAINER", "container", "get", "nobody")
	bad := f.versions(t, "typedbad", app{fault: "boot-fails"})
	r = f.fails(t, 1, "", "container", "create", "typedbad", "--repo", bad.GetRepository(), "--tag", "v1", "--yes")
	if r.out+r.err == "" {
		t.Error("a failed deployment says nothing")
	}
	if r := runCasemate(t, f.Bin, "unix:///nonexistent.sock", "", "container", "list"); r.code != 3 {
		t.Errorf("without a coordinator the exit code is %d, want 3: %s", r.code, r.err)
	}
}

func TestStopKeepsTheContainerAndStartBringsItBack(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "rest", app{})
	if _, err := f.Containers.StopContainer(bounded(t), &cv1.StopContainerRequest{Org: dev.Org, Name: "rest"}); err != nil {
		t.Fatal(err)
	}
	c := f.is(t, "rest", stopped)
	if c.GetActiveEnclave() != "" || c.GetSpec().GetTag() != "v1" || c.GetSpec().GetDomain() != domain("rest") {
		t.Errorf("a stopped container is %v", c)
	}
	f.refused(t, domain("rest"))
	r, err := f.Containers.StartContainer(bounded(t), &cv1.StartContainerRequest{Org: dev.Org, Name: "rest"})
	if err != nil {
		t.Fatal(err)
	}
	if u := f.ended(t, r.GetUpdate(), succeeded); u.GetKind() != "start" {
		t.Errorf("starting was a %s", u.GetKind())
	}
	f.ask(t, "rest")
	says(t, f.ok(t, "container", "stop", "rest", "--yes"), "STOPPED")
	f.ok(t, "container", "start", "rest", "--yes")
	f.ask(t, "rest")
	f.fails(t, 1, "ALREADY_RUNNING", "container", "start", "rest", "--yes")
}

func TestATemplateMakesAnIndependentContainer(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.versions(t, "mould", app{}, app{})
	spec.Variables = map[string]string{"LOG_LEVEL": "warn"}
	f.deployed(t, "mould", spec)
	r, err := f.Containers.CopyContainer(bounded(t), &cv1.CopyContainerRequest{Org: dev.Org, Source: "mould", Name: "cast"})
	if err != nil {
		t.Fatal(err)
	}
	f.ended(t, r.GetUpdate(), succeeded)
	a, mould := f.ask(t, "cast"), f.get(t, "mould")
	if a.Container != "cast" || a.Tag != "v1" || a.Variables["LOG_LEVEL"] != "warn" {
		t.Errorf("%+v answers, want the settings of mould", a)
	}
	if c := f.get(t, "cast"); c.GetUid() == mould.GetUid() || c.GetSpec().GetDomain() != domain("cast") {
		t.Errorf("the copy is %v", c)
	}
	f.ok(t, "container", "template", "mould", "cast2", "--tag", "v2", "--yes")
	if a := f.ask(t, "cast2"); a.Tag != "v2" || a.Variables["LOG_LEVEL"] != "warn" {
		t.Errorf("%+v answers, want v2 with the settings of mould", a)
	}
	f.remove(t, "mould")
	f.ask(t, "cast")
}
