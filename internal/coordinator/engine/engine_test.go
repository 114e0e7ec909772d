package engine

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func steps(u *model.Update) []model.Step {
	var out []model.Step
	for _, h := range u.History {
		out = append(out, h.Step)
	}
	return out
}

func TestStepsAreThoseOfTheDesign(t *testing.T) {
	for _, tc := range []struct {
		name     string
		strategy model.Strategy
		options  model.UpdateOptions
		want     []model.Step
	}{
		{"blue-green", model.BlueGreen, model.UpdateOptions{}, []model.Step{
			model.StepReserve, model.StepPrepare, model.StepBoot, model.StepAttest, model.StepHealth,
			model.StepSwitch, model.StepDrain, model.StepStopOld, model.StepRelease, model.StepDone,
		}},
		{"replace", model.Replace, model.UpdateOptions{}, []model.Step{
			model.StepReserve, model.StepPrepare, model.StepHoldRoute, model.StepStopOld, model.StepAwaitFree,
			model.StepBoot, model.StepAttest, model.StepHealth, model.StepSwitch, model.StepRelease, model.StepDone,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := deployed(t)
			w.begin(tc.strategy, "v2", 2, tc.options)
			w.settle()
			w.want(model.Succeeded, model.Running, "c1-r2-2")
			if got := steps(w.state.Update); !slices.Equal(got, tc.want) {
				t.Errorf("steps\n got %v\nwant %v", got, tc.want)
			}
			if w.state.Container.Spec.Tag != "v2" {
				t.Errorf("the container's settings are those of %s, want v2", w.state.Container.Spec.Tag)
			}
		})
	}
}

func TestHeldCandidateWaitsForAccept(t *testing.T) {
	w := deployed(t)
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{Hold: true})
	w.settle()
	if u := w.state.Update; u.Step != model.StepHold || u.Status != model.Ready {
		t.Fatalf("update is %s in %s, want READY in HOLD", u.Status, u.Step)
	}
	if w.state.Route.Enclave != "c1-r1-1" {
		t.Errorf("the route leads to %s before anybody accepted", w.state.Route.Enclave)
	}
	if err := w.send(Accept{w.state.Update.ID}); err != nil {
		t.Fatalf("accept: %v", err)
	}
	w.settle()
	w.want(model.Succeeded, model.Running, "c1-r2-2")
}

func TestAcceptIsRefused(t *testing.T) {
	refusal := func(w *world, ev Event, reason string) {
		t.Helper()
		var r *Refused
		if err := w.send(ev); !errors.As(err, &r) || r.Reason != reason {
			t.Errorf("%T: got %v, want a refusal %s", ev, err, reason)
		}
	}
	w := deployed(t)
	refusal(w, Accept{"api-u1"}, "UPDATE_ENDED")
	w.mute["Prepare"] = true
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{Hold: true})
	refusal(w, Accept{"api-u2"}, "NOT_READY")
	refusal(w, Accept{"api-u1"}, "UPDATE_NOT_ACTIVE")
	refusal(w, Start{Update: plan(model.BlueGreen, "v3", model.UpdateOptions{}), Revision: 3}, "UPDATE_IN_PROGRESS")
	if err := w.send(Cancel{ID: "api-u2"}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	refusal(w, Accept{"api-u2"}, "UPDATE_ENDED")
	refusal(w, Cancel{ID: "api-u2"}, "UPDATE_ENDED")
}

func TestAnUnhealthyHeldCandidateCantBeAccepted(t *testing.T) {
	w := deployed(t)
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{Hold: true})
	w.settle()
	if err := w.send(w.observe(w.state.Update.New, model.EnclaveUnhealthy)); err != nil {
		t.Fatal(err)
	}
	var r *Refused
	if err := w.send(Accept{"api-u2"}); !errors.As(err, &r) || r.Reason != "NOT_HEALTHY" {
		t.Errorf("accept: %v, want NOT_HEALTHY", err)
	}
}

// TestCancelAtEveryStep walks every prefix of both strategies and cancels there.
func TestCancelAtEveryStep(t *testing.T) {
	for _, strategy := range []model.Strategy{model.BlueGreen, model.Replace} {
		for events := range 40 {
			w := deployed(t)
			w.begin(strategy, "v2", 2, model.UpdateOptions{Hold: strategy == model.BlueGreen})
			for i := 0; i < events && len(w.queue) > 0; i++ {
				ev := w.queue[0]
				w.queue = w.queue[1:]
				if err := w.send(ev); err != nil {
					t.Fatal(err)
				}
			}
			step := w.state.Update.Step
			switched := w.state.Update.Switched
			err := w.send(Cancel{ID: "api-u2", Reason: "CANCELLED", Text: "cancelled by a person"})
			w.settle()
			if switched {
				var r *Refused
				if !errors.As(err, &r) {
					t.Errorf("%s: cancel after the switch in %s gave %v, want a refusal", strategy, step, err)
				}
				w.want(model.Succeeded, model.Running, "c1-r2-2")
				continue
			}
			if err != nil {
				t.Errorf("%s: cancel in %s: %v", strategy, step, err)
			}
			serves := w.state.Container.Active
			if serves == nil || serves.Revision != 1 {
				t.Errorf("%s: after a cancel in %s %+v serves, want revision 1", strategy, step, serves)
				continue
			}
			w.want(model.UpdateCancelled, model.Running, serves.ID)
			if w.state.Container.Spec.Tag != "v1" {
				t.Errorf("%s: after a cancel in %s the settings are those of %s", strategy, step, w.state.Container.Spec.Tag)
			}
		}
	}
}

func TestFailureLeavesTheOldVersionOrFailed(t *testing.T) {
	died := func(w *world) func(Effect) []Event {
		return func(e Effect) []Event {
			ref := e.(Create).Enclave
			if ref.Revision != 2 {
				return w.perfect(e)
			}
			w.alive[ref.ID] = true
			return []Event{Observed{model.Observation{Enclave: ref.ID, Host: ref.Host, State: model.EnclaveFailed, Reason: "IMAGE_MISSING", Text: "no such image"}}}
		}
	}
	for _, tc := range []struct {
		rule      string
		strategy  model.Strategy
		restore   bool
		container model.ContainerStatus
		serves    int64
	}{
		{"a failed blue-green update leaves the old version serving", model.BlueGreen, false, model.Running, 1},
		{"a failed replace leaves the container failed", model.Replace, false, model.Failed, 0},
		{"a failed replace with restore brings the old revision back", model.Replace, true, model.Running, 1},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			w := deployed(t)
			w.answers["Create"] = died(w)
			w.begin(tc.strategy, "v2", 2, model.UpdateOptions{RestoreOnFailure: tc.restore})
			w.settle()
			id := ""
			if a := w.state.Container.Active; a != nil {
				id = a.ID
				if a.Revision != tc.serves {
					t.Errorf("revision %d serves, want %d", a.Revision, tc.serves)
				}
			}
			w.want(model.UpdateFailed, tc.container, id)
			if w.state.Update.Reason != "IMAGE_MISSING" {
				t.Errorf("reason %s, want IMAGE_MISSING", w.state.Update.Reason)
			}
			if tc.serves == 0 && w.state.Route.State != model.RouteClosed {
				t.Errorf("route is %s, want it closed and kept", w.state.Route.State)
			}
			w.answers = map[string]func(Effect) []Event{}
			w.begin(model.BlueGreen, "v3", 3, model.UpdateOptions{})
			w.settle()
			w.want(model.Succeeded, model.Running, w.state.Container.Active.ID)
		})
	}
}

// TestEveryStepEndsByItsDeadline mutes each effect in turn: whatever does not
// answer, the update ends.
func TestEveryStepEndsByItsDeadline(t *testing.T) {
	effects := []string{"Prepare", "Create", "Verify", "Observe", "Halt", "AwaitFree", "AwaitAck", "AwaitDrain", "Replan"}
	for _, strategy := range []model.Strategy{model.BlueGreen, model.Replace} {
		for _, muted := range effects {
			for _, hold := range []bool{false, true} {
				w := deployed(t)
				w.mute[muted] = true
				w.begin(strategy, "v2", 2, model.UpdateOptions{Hold: hold && strategy == model.BlueGreen, RestoreOnFailure: hold})
				w.settle()
				for range 20 {
					if w.state.Update.Status.Ended() {
						break
					}
					w.pass()
				}
				if !w.state.Update.Status.Ended() {
					t.Errorf("%s without an answer to %s never ends: it stays in %s", strategy, muted, w.state.Update.Step)
				}
			}
		}
	}
}

func TestForceEndsEveryWait(t *testing.T) {
	for _, strategy := range []model.Strategy{model.BlueGreen, model.Replace} {
		for _, muted := range []string{"Prepare", "Create", "Verify", "Observe", "Halt", "AwaitFree", "AwaitAck", "AwaitDrain"} {
			w := deployed(t)
			w.mute[muted] = true
			w.begin(strategy, "v2", 2, model.UpdateOptions{})
			w.settle()
			for range 20 {
				if w.state.Update.Status.Ended() {
					break
				}
				if err := w.send(Force{w.state.Update.ID, w.state.Update.Step}); err != nil {
					t.Fatal(err)
				}
				w.settle()
			}
			if !w.state.Update.Status.Ended() {
				t.Errorf("%s: force does not end the wait for %s in %s", strategy, muted, w.state.Update.Step)
			}
		}
	}
}

func TestReplaceBootsNothingBeforeTheProof(t *testing.T) {
	w := deployed(t)
	w.mute["AwaitFree"] = true
	w.begin(model.Replace, "v2", 2, model.UpdateOptions{})
	w.settle()
	if len(w.ever) != 1 {
		t.Errorf("created %v before the GPUs were proved free", w.ever)
	}
	if w.state.Route.State != model.RouteHeld {
		t.Errorf("route is %s during the replace, want it held", w.state.Route.State)
	}
	if w.state.Container.Status != model.Deploying {
		t.Errorf("container is %s during the replace, want DEPLOYING", w.state.Container.Status)
	}
}

func TestARefusedClaimIsPlannedOnceMore(t *testing.T) {
	w := deployed(t)
	refuse := 1
	w.answers["Create"] = func(e Effect) []Event {
		if refuse == 0 {
			return w.perfect(e)
		}
		refuse--
		return []Event{Created{e.(Create).Enclave.ID, &Failure{Reason: "NO_CAPACITY", Text: "GPUs taken", NoRoom: true}}}
	}
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	w.want(model.Succeeded, model.Running, "c1-r2-3")
	if w.state.Container.Active.Host != "h9" {
		t.Errorf("runs on %s, want the planner's second choice", w.state.Container.Active.Host)
	}
	refuse = 2
	w.begin(model.BlueGreen, "v3", 3, model.UpdateOptions{})
	w.settle()
	w.want(model.UpdateFailed, model.Running, "c1-r2-3")
	if w.state.Update.Reason != "CAPACITY_LOST" {
		t.Errorf("reason %s, want CAPACITY_LOST", w.state.Update.Reason)
	}
}

func TestStopAndDeleteAtEveryPoint(t *testing.T) {
	for _, kind := range []model.TeardownKind{model.TeardownStop, model.TeardownDelete} {
		for _, strategy := range []model.Strategy{model.BlueGreen, model.Replace} {
			for events := range 40 {
				w := deployed(t)
				w.begin(strategy, "v2", 2, model.UpdateOptions{})
				for i := 0; i < events && len(w.queue) > 0; i++ {
					ev := w.queue[0]
					w.queue = w.queue[1:]
					if err := w.send(ev); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.send(Stop{kind}); err != nil {
					t.Fatal(err)
				}
				w.settle()
				if len(w.alive) != 0 || len(w.state.Reservations) != 0 {
					t.Errorf("%s of a %s after %d events left %v and %v", kind, strategy, events, w.alive, w.state.Reservations)
				}
				if w.state.Deleted != (kind == model.TeardownDelete) {
					t.Errorf("%s: deleted = %v", kind, w.state.Deleted)
				}
				if w.state.Route.State != model.RouteClosed {
					t.Errorf("%s left the route %s", kind, w.state.Route.State)
				}
				if kind == model.TeardownStop && w.state.Container.Status != model.Stopped {
					t.Errorf("container is %s, want STOPPED", w.state.Container.Status)
				}
			}
		}
	}
}

// TestResumeRepeatsTheEffectsOfTheStep is the crash-recovery rule: from any
// state, Resume alone is enough to come to the same end.
func TestResumeRepeatsTheEffectsOfTheStep(t *testing.T) {
	for _, strategy := range []model.Strategy{model.BlueGreen, model.Replace} {
		for events := range 30 {
			w := deployed(t)
			w.begin(strategy, "v2", 2, model.UpdateOptions{})
			for i := 0; i < events && len(w.queue) > 0; i++ {
				ev := w.queue[0]
				w.queue = w.queue[1:]
				if err := w.send(ev); err != nil {
					t.Fatal(err)
				}
			}
			w.queue = nil
			if err := w.send(Resume{}); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.want(model.Succeeded, model.Running, "c1-r2-2")
		}
	}
}

func TestFailedHealthChecksFailTheUpdateAtOnce(t *testing.T) {
	w := deployed(t)
	w.mute["Observe"] = true
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	ref := w.state.Update.New
	w.queue = append(w.queue, Observed{model.Observation{
		Enclave: ref.ID, Host: ref.Host, State: model.EnclaveStarting, Reason: "HEALTH_CHECK_FAILED", Text: "app is unhealthy",
	}})
	w.settle()
	w.want(model.UpdateFailed, model.Running, "c1-r1-1")
	if w.state.Update.Reason != "HEALTH_CHECK_FAILED" {
		t.Errorf("reason %s, want that of the health check", w.state.Update.Reason)
	}
}

// TestALeftoverThatNeverWasIsForgotten: the agent never got to hear of the
// candidate, so that it can only be silent about it.
func TestALeftoverThatNeverWasIsForgotten(t *testing.T) {
	w := deployed(t)
	w.mute["Create"], w.mute["Halt"] = true, true
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	ref := w.state.Update.New
	for !w.state.Update.Status.Ended() {
		w.pass()
	}
	if l := w.state.Container.Leftovers; len(l) != 1 || l[0].ID != ref.ID {
		t.Fatalf("leftovers are %v, want %s", l, ref.ID)
	}
	r, ok := w.state.Reservations[ref.ID]
	if !ok || r.Host != ref.Host || r.Room != (model.Room{}) {
		t.Errorf("reservation is %+v (%v), want one without room, so that its absence is told", r, ok)
	}
	if err := w.send(Observed{model.Observation{Enclave: ref.ID, Host: ref.Host, State: model.EnclaveAbsent}}); err != nil {
		t.Fatal(err)
	}
	if l := w.state.Container.Leftovers; len(l) != 0 {
		t.Errorf("leftovers are %v after the host has told that it has none", l)
	}
	w.want(model.UpdateFailed, model.Running, "c1-r1-1")
}

func TestAConfigMayTakeLongerToStartThanTheLimit(t *testing.T) {
	for _, tc := range []struct {
		rule    string
		options model.UpdateOptions
		want    time.Duration
	}{
		{"the limit counts if nothing says otherwise", model.UpdateOptions{}, 30 * time.Minute},
		{"a config that needs less changes nothing", model.UpdateOptions{HealthWait: time.Minute}, 30 * time.Minute},
		{"a config that needs more is given it", model.UpdateOptions{HealthWait: 2 * time.Hour}, 2 * time.Hour},
		{"the request's own limit comes first", model.UpdateOptions{HealthWait: 2 * time.Hour, StartTimeout: time.Minute}, time.Minute},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			w := deployed(t)
			w.mute["Verify"] = true
			w.begin(model.BlueGreen, "v2", 2, tc.options)
			w.settle()
			if got := w.state.Update.Deadline.Sub(w.now); got != tc.want {
				t.Errorf("it may take %s, want %s", got, tc.want)
			}
		})
	}
}
