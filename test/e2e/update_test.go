package e2e

import (
	"slices"
	"testing"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

const (
	succeeded = cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED
	failed    = cv1.UpdateStatus_UPDATE_STATUS_FAILED
	cancelled = cv1.UpdateStatus_UPDATE_STATUS_CANCELLED
)

func TestABlueGreenUpdateLosesNoRequest(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "bg", app{}, app{boot: 300 * time.Millisecond})
	l := f.load(t, "bg")
	u := f.updated(t, "bg", "v2", nil, succeeded)
	if u.GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN || u.GetKind() != "update" || u.GetFromTag() != "v1" || u.GetToTag() != "v2" {
		t.Errorf("the update was %v", u)
	}
	s := unharmed(t, l)
	if !slices.Equal(s.Tags, []string{"v1", "v2"}) {
		t.Errorf("clients saw the tags %v, want v1, then v2", s.Tags)
	}
	if c := f.get(t, "bg"); c.GetActiveTag() != "v2" || c.GetActiveEnclave() != u.GetCandidate() || c.GetStatus() != cv1.ContainerStatus_CONTAINER_STATUS_RUNNING {
		t.Errorf("the container is %v", c)
	}
	if a := f.ask(t, "bg"); a.Tag != "v2" || a.Enclave != u.GetCandidate() {
		t.Errorf("%+v answers, want the candidate %s", a, u.GetCandidate())
	}
}

func TestTheOldVersionServesWhileTheNewOneBoots(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "boots", app{}, app{boot: 300 * time.Millisecond}.loading())
	old := f.get(t, "boots").GetActiveEnclave()
	serves := func(step cv1.UpdateStep) {
		t.Helper()
		if a := f.ask(t, "boots"); a.Enclave != old || a.Tag != "v1" {
			t.Errorf("in %s %+v answers, want the old enclave %s", step, a, old)
		}
	}
	u := f.beginAt(t, "boots", "v2", nil, cv1.UpdateStep_UPDATE_STEP_BOOT)
	serves(u.GetStep())
	u = f.at(t, u, cv1.UpdateStep_UPDATE_STEP_HEALTH)
	serves(u.GetStep())
	f.cancel(t, u)
	f.ended(t, u, cancelled)
}

func TestAfterAFailedUpdateTheOldVersionServesUntouched(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "unhurt", app{}, app{fault: "never-healthy"})
	before := f.get(t, "unhurt")
	l := f.load(t, "unhurt")
	u := f.updated(t, "unhurt", "v2", nil, failed)
	if u.GetReason() == "" || u.GetText() == "" {
		t.Errorf("the failed update gives no reason: %v", u)
	}
	if s := unharmed(t, l); !slices.Equal(s.Tags, []string{"v1"}) {
		t.Errorf("clients saw the tags %v, want v1 only", s.Tags)
	}
	after := f.get(t, "unhurt")
	if after.GetActiveEnclave() != before.GetActiveEnclave() || after.GetStatus() != cv1.ContainerStatus_CONTAINER_STATUS_RUNNING || after.GetSpec().GetTag() != "v1" {
		t.Errorf("after the failure the container is %v, want as before: %v", after, before)
	}
}

func TestAWatcherSeesTheUpdatesStatusesInOrder(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	slow := app{boot: 200 * time.Millisecond, load: 200 * time.Millisecond}
	broken := slow
	broken.fault = "never-healthy"
	f.running(t, "watched", app{}, slow, broken)
	for to, want := range map[string][]cv1.UpdateStatus{
		"v2": {cv1.UpdateStatus_UPDATE_STATUS_PENDING, cv1.UpdateStatus_UPDATE_STATUS_STARTED, cv1.UpdateStatus_UPDATE_STATUS_READY, succeeded},
		"v3": {cv1.UpdateStatus_UPDATE_STATUS_PENDING, cv1.UpdateStatus_UPDATE_STATUS_STARTED, failed},
	} {
		var seen []cv1.UpdateStatus
		f.watched(t, "watched", to, nil, func(u *cv1.Update) bool {
			if n := len(seen); n == 0 || seen[n-1] != u.GetStatus() {
				seen = append(seen, u.GetStatus())
			}
			return dev.Ended(u)
		})
		if !slices.Equal(seen, want) {
			t.Errorf("to %s a watcher saw %v, want %v", to, seen, want)
		}
	}
}

func TestARollbackIsTheSameFlow(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "back", app{}, app{})
	f.updated(t, "back", "v2", nil, succeeded)
	l := f.load(t, "back")
	u := f.updated(t, "back", "v1", nil, succeeded)
	if u.GetKind() != "rollback" || u.GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN || u.GetToRevision() != 1 {
		t.Errorf("going back was a %s to revision %d by %s", u.GetKind(), u.GetToRevision(), u.GetStrategy())
	}
	if s := unharmed(t, l); !slices.Equal(s.Tags, []string{"v2", "v1"}) {
		t.Errorf("clients saw the tags %v, want v2, then v1", s.Tags)
	}
}

func TestContainersOfOneConfigUpdateTogether(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "multi", app{sidecar: 1}, app{sidecar: 2})
	before := f.ask(t, "multi")
	u := f.updated(t, "multi", "v2", nil, succeeded)
	after := f.ask(t, "multi")
	if !slices.Equal(after.Containers, []string{"app", "sidecar"}) {
		t.Errorf("the containers are %v", after.Containers)
	}
	if after.Enclave == before.Enclave {
		t.Error("only the sidecar's image changed, and the app was not restarted with it")
	}
	changed := func(c *cv1.Change) bool { return c.GetPath() == "containers[sidecar].image" }
	if !slices.ContainsFunc(u.GetPlan().GetChanges(), changed) {
		t.Errorf("the plan names the changes %v, want the sidecar's image", u.GetPlan().GetChanges())
	}
}

func TestUpdatesFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.versions(t, "cmd", app{}, app{sidecar: 1}, app{fault: "never-healthy"})
	out := f.ok(t, "container", "create", "cmd", "--repo", spec.GetRepository(), "--tag", "v1", "--yes")
	says(t, out, "v1")
	out = f.ok(t, "container", "update", "plan", "cmd", "--tag", "v2")
	says(t, out, "blue-green")
	says(t, f.ok(t, "container", "relaunch", "cmd", "--tag", "v2", "--yes"), "blue-green")
	r := f.fails(t, 1, "", "container", "relaunch", "cmd", "--tag", "v3", "--yes")
	says(t, r.out+r.err, "healthy")
	var u cv1.Update
	f.json(t, &u, "container", "update", "status", "cmd")
	if u.GetStatus() != failed || u.GetToTag() != "v3" {
		t.Errorf("update status says %v", &u)
	}
	if a := f.ask(t, "cmd"); a.Tag != "v2" {
		t.Errorf("%+v answers after the failure, want v2", a)
	}
	f.ok(t, "container", "relaunch", "cmd", "--tag", "v1", "--yes")
	says(t, f.ok(t, "container", "update", "history", "cmd"), "rollback", "update", "update", "deploy")
	r = f.casemate(t, "container", "relaunch", "cmd", "--tag", "v2")
	if r.code != 2 {
		t.Errorf("without --yes and without a terminal the exit code is %d, want 2: %s", r.code, r.err)
	}
}
