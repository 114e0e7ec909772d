package e2e

import (
	"testing"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

var hold = &cv1.UpdateOptions{Hold: true}

func (f *fleet) accept(t *testing.T, u *cv1.Update) error {
	t.Helper()
	_, err := f.Updates.AcceptUpdate(bounded(t), &cv1.AcceptUpdateRequest{Org: dev.Org, Container: u.GetContainer(), Id: u.GetId(), Etag: u.GetEtag()})
	return err
}

func TestAHeldCandidateServesOnceItIsAccepted(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "held", app{}, app{}, app{}.loading())
	l := f.load(t, "held")
	u := f.begin(t, "held", "v3", hold)
	wantError(t, f.accept(t, &cv1.Update{Container: "held", Id: u.GetId()}), codes.FailedPrecondition, "NOT_READY", u.GetId())
	f.cancel(t, u)
	f.ended(t, u, cancelled)
	early := f.beginAt(t, "held", "v2", hold, cv1.UpdateStep_UPDATE_STEP_PREPARE)
	u = f.at(t, early, cv1.UpdateStep_UPDATE_STEP_HOLD)
	if u.GetStatus() != cv1.UpdateStatus_UPDATE_STATUS_READY {
		t.Errorf("a held update is %s, want READY", u.GetStatus())
	}
	wantError(t, f.accept(t, early), codes.Aborted, "ETAG_MISMATCH", "read it again")
	if a := f.ask(t, "held"); a.Tag != "v1" {
		t.Errorf("%+v answers before anybody accepted", a)
	}
	if err := f.accept(t, u); err != nil {
		t.Fatal(err)
	}
	f.ended(t, u, succeeded)
	if a := f.ask(t, "held"); a.Enclave != u.GetCandidate() {
		t.Errorf("%+v answers, want the candidate that was accepted, %s", a, u.GetCandidate())
	}
	unharmed(t, l)
	wantError(t, f.accept(t, &cv1.Update{Container: "held", Id: u.GetId()}), codes.FailedPrecondition, "ALREADY_SWITCHED")
	wantError(t, f.accept(t, &cv1.Update{Container: "held", Id: "held-u99"}), codes.NotFound, "NO_SUCH_UPDATE")
}

func TestACandidateThatIsNotHealthyAnyMoreIsNotAccepted(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "sick", app{}, app{fault: "unhealthy-after:10s"}) // and healthy long enough for a slow machine
	u := f.at(t, f.begin(t, "sick", "v2", hold), cv1.UpdateStep_UPDATE_STEP_HOLD)
	unhealthy := func(u *cv1.Update) bool {
		for _, s := range u.GetStages() {
			if s.GetName() == "health" && s.GetStatus().String() == "STAGE_STATUS_FAILED" {
				return true
			}
		}
		return dev.Ended(u)
	}
	u, err := f.Await(bounded(t), u, unhealthy)
	if err != nil {
		t.Fatal(err)
	}
	if dev.Ended(u) {
		t.Fatalf("the held update ended: %v", u)
	}
	wantError(t, f.accept(t, u), codes.FailedPrecondition, "NOT_HEALTHY", u.GetCandidate())
	f.cancel(t, u)
	f.ended(t, u, cancelled)
	if a := f.ask(t, "sick"); a.Tag != "v1" {
		t.Errorf("%+v answers", a)
	}
}

func (f *fleet) cancel(t *testing.T, u *cv1.Update) {
	t.Helper()
	if err := f.tryCancel(t, u); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) tryCancel(t *testing.T, u *cv1.Update) error {
	t.Helper()
	_, err := f.Updates.CancelUpdate(bounded(t), &cv1.CancelUpdateRequest{Org: dev.Org, Container: u.GetContainer(), Id: u.GetId()})
	return err
}

func TestHoldAcceptAndCancelFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "hands", app{}, app{}, app{}.loading())
	f.fails(t, 1, "", "container", "update", "cancel", "hands")
	says(t, f.ok(t, "container", "relaunch", "hands", "--tag", "v2", "--hold", "--yes"), "accept")
	says(t, f.ok(t, "container", "update", "status", "hands"), "READY")
	if a := f.ask(t, "hands"); a.Tag != "v1" {
		t.Errorf("%+v answers before anybody accepted", a)
	}
	f.fails(t, 1, "UPDATE_IN_PROGRESS", "container", "relaunch", "hands", "--tag", "v3", "--yes")
	f.ok(t, "container", "update", "accept", "hands")
	if a := f.ask(t, "hands"); a.Tag != "v2" {
		t.Errorf("%+v answers after accept", a)
	}
	f.fails(t, 1, "", "container", "update", "accept", "hands")
	says(t, f.ok(t, "container", "relaunch", "hands", "--tag", "v3", "--yes", "--no-wait"), "hands-u3")
	says(t, f.ok(t, "container", "update", "status", "hands"), "hands-u3 of hands", "v3") // PENDING, or STARTED by now
	says(t, f.ok(t, "container", "update", "cancel", "hands"), "CANCELLED")
	says(t, f.ok(t, "container", "update", "history", "hands"), "CANCELLED")
	if a := f.ask(t, "hands"); a.Tag != "v2" {
		t.Errorf("%+v answers after cancel", a)
	}
}
