package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// word is a step's name as part of a container's name.
func word(step cv1.UpdateStep) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(step.String(), "UPDATE_STEP_"), "_", "-"))
}

func TestCancelInEveryStepBeforeTheSwitchKeepsTheCurrentVersion(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	slow := app{boot: 500 * time.Millisecond, load: 500 * time.Millisecond}
	for _, step := range []cv1.UpdateStep{
		cv1.UpdateStep_UPDATE_STEP_PREPARE, cv1.UpdateStep_UPDATE_STEP_BOOT,
		cv1.UpdateStep_UPDATE_STEP_ATTEST, cv1.UpdateStep_UPDATE_STEP_HEALTH, cv1.UpdateStep_UPDATE_STEP_HOLD,
	} {
		t.Run(word(step), func(t *testing.T) {
			t.Parallel()
			name := "cancel-" + word(step)
			f.running(t, name, app{}, slow)
			l := f.load(t, name)
			u := f.beginAt(t, name, "v2", hold, step)
			f.cancel(t, u)
			u = f.ended(t, u, cancelled)
			if u.GetSwitchTime() != nil || !u.GetCancelRequested() || u.GetReason() != "CANCELLED" {
				t.Errorf("the cancelled update is %v", u)
			}
			if s := unharmed(t, l); !slices.Equal(s.Tags, []string{"v1"}) {
				t.Errorf("clients saw the tags %v, want v1 only", s.Tags)
			}
			if c := f.get(t, name); c.GetStatus() != isRunning || c.GetActiveTag() != "v1" || c.GetSpec().GetTag() != "v1" || len(c.GetLeftoverEnclaves()) > 0 {
				t.Errorf("after the cancellation the container is %v", c)
			}
		})
	}
}

func TestCancelAfterTheSwitchIsRefusedAndTheUpdateEnds(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "late", app{}, app{})
	l := f.load(t, "late") // kept connections make it drain
	u, err := f.ToTag(bounded(t), "late", "v2", nil, func(u *cv1.Update) bool { return u.GetSwitchTime() != nil })
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, f.tryCancel(t, u), codes.FailedPrecondition, "ALREADY_SWITCHED")
	f.ended(t, u, succeeded)
	unharmed(t, l)
}

func TestOfAcceptAndCancelAtTheSameTimeExactlyOneWins(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "race", app{}, app{})
	u := f.at(t, f.begin(t, "race", "v2", hold), cv1.UpdateStep_UPDATE_STEP_HOLD)
	answers := make(chan error, 2)
	ctx := bounded(t)
	go func() {
		_, err := f.Updates.AcceptUpdate(ctx, &cv1.AcceptUpdateRequest{Org: dev.Org, Container: "race", Id: u.GetId(), Etag: u.GetEtag()})
		answers <- err
	}()
	go func() {
		_, err := f.Updates.CancelUpdate(ctx, &cv1.CancelUpdateRequest{Org: dev.Org, Container: "race", Id: u.GetId(), Etag: u.GetEtag()})
		answers <- err
	}()
	var won int
	for range 2 {
		if err := <-answers; err == nil {
			won++
		} else if rpc.Reason(err) == "" {
			t.Errorf("the loser is told %v, with no reason", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of accept and cancel won, want one", won)
	}
	u, err := f.Await(ctx, u, dev.Ended)
	if err != nil {
		t.Fatal(err)
	}
	if switched := u.GetSwitchTime() != nil; switched != (u.GetStatus() == succeeded) || !switched && u.GetStatus() != cancelled {
		t.Errorf("the update ended as %s, switched: %v", u.GetStatus(), switched)
	}
}

func TestSupersedeCancelsTheUpdateInProgress(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "super", app{}, app{boot: time.Minute}, app{})
	first := f.begin(t, "super", "v2", nil)
	_, err := f.ToTag(bounded(t), "super", "v3", nil, dev.Ended)
	wantError(t, err, codes.Aborted, "UPDATE_IN_PROGRESS", first.GetId(), "supersede")
	u := f.updated(t, "super", "v3", &cv1.UpdateOptions{Supersede: true}, succeeded)
	if a := f.ask(t, "super"); a.Tag != "v3" || a.Enclave != u.GetCandidate() {
		t.Errorf("%+v answers", a)
	}
	if first = f.ended(t, first, cancelled); first.GetReason() != "SUPERSEDED" {
		t.Errorf("the first update was %s: %s", first.GetReason(), first.GetText())
	}
	f.begin(t, "super", "v2", nil)
	f.ok(t, "container", "relaunch", "super", "--tag", "v1", "--supersede", "--yes")
	if a := f.ask(t, "super"); a.Tag != "v1" {
		t.Errorf("%+v answers", a)
	}
}
