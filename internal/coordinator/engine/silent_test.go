package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// silence tells that the candidate's host has not answered for long.
func (w *world) silence() {
	w.t.Helper()
	w.silent(w.state.Update.New, true)
	w.settle()
}

// silent tells that an enclave's host does not answer, for long or not.
func (w *world) silent(ref model.EnclaveRef, long bool) {
	w.t.Helper()
	o := model.Observation{Enclave: ref.ID, Host: ref.Host, State: model.EnclaveSilent, Since: w.now, Long: long}
	if err := w.send(Observed{o}); err != nil {
		w.t.Fatal(err)
	}
}

func TestACandidateLeavesASilentHostBeforeAnythingBegan(t *testing.T) {
	w := deployed(t)
	w.mute["Prepare"] = true
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	delete(w.mute, "Prepare")
	w.silence()
	w.want(model.Succeeded, model.Running, "c1-r2-3")
	if c := w.state.Container; c.Active.Host != "h9" || len(c.Leftovers) != 0 {
		t.Errorf("it serves on %s with %v left over, want h9 and nothing: nothing was ever created on the silent host", c.Active.Host, c.Leftovers)
	}
}

func TestWhatMayHaveBegunOnASilentHostIsGivenUpOn(t *testing.T) {
	w := deployed(t)
	w.mute["Create"] = true
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.settle()
	lost := w.state.Update.New
	delete(w.mute, "Create")
	w.silence()
	c := w.state.Container
	if w.state.Update.Status != model.Succeeded || c.Active.Host != "h9" {
		t.Fatalf("update is %s on %s, want it to succeed on h9", w.state.Update.Status, c.Active.Host)
	}
	if len(c.Leftovers) != 1 || c.Leftovers[0].ID != lost.ID {
		t.Fatalf("left over are %v, want %s, which its agent may have created", c.Leftovers, lost.ID)
	}
	if r, kept := w.state.Reservations[lost.ID]; !kept || r.Room != (model.Room{}) {
		t.Errorf("the reservation of %s is %+v (kept: %v), want it kept without room, so that its end is told", lost.ID, r, kept)
	}
	if err := w.send(w.observe(lost, model.EnclaveAbsent)); err != nil {
		t.Fatal(err)
	}
	if len(w.state.Container.Leftovers) != 0 || len(w.state.Reservations) != 1 {
		t.Errorf("after its host was seen again %v is left over, with reservations %v", w.state.Container.Leftovers, w.state.Reservations)
	}
}

func TestWithoutAnotherPlaceASilentHostIsWaitedFor(t *testing.T) {
	for _, effect := range []string{"Prepare", "Create"} {
		w := deployed(t)
		w.mute[effect] = true
		w.answers["Replan"] = func(e Effect) []Event {
			return []Event{Replanned{Failed: e.(Replan).Failed.ID, Failure: &Failure{Reason: "NO_CAPACITY", Text: "all is taken"}}}
		}
		w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
		w.settle()
		deadline := w.state.Update.Deadline
		w.silence()
		u := w.state.Update
		if u.Status != model.Pending || u.Replanning || u.New.Host != "h1" || !u.Deadline.Equal(deadline) {
			t.Fatalf("%s: update is %s on %s until %s (replanning %v), want it to wait for h1 until %s", effect, u.Status, u.New.Host, u.Deadline, u.Replanning, deadline)
		}
		delete(w.mute, effect)
		w.silence() // asks again, and has the step's own effects carried out again
		w.want(model.Succeeded, model.Running, "c1-r2-2")
	}
}

func TestAHostThatIsBackBeforeThePlannerAnswersIsKept(t *testing.T) {
	for _, effect := range []string{"Prepare", "Create"} {
		w := deployed(t)
		w.mute[effect], w.mute["Replan"] = true, true
		w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
		w.settle()
		w.silence()
		u := w.state.Update
		for _, ev := range w.perfect(map[string]Effect{"Prepare": Prepare{u.New}, "Create": Create{u.New}}[effect]) {
			if err := w.send(ev); err != nil {
				t.Fatal(err)
			}
		}
		w.queue = append(w.queue, Replanned{Failed: u.New.ID, Host: "h9"})
		w.settle()
		w.want(model.Succeeded, model.Running, "c1-r2-2")
	}
}

// back lets the leftovers' host be seen again: they are stopped.
func (w *world) back() {
	w.t.Helper()
	for _, l := range w.state.Container.Leftovers {
		delete(w.alive, l.ID)
		if err := w.send(w.observe(l, model.EnclaveStopped)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// stuck is a deployed container whose update to version 2 waits for an effect on
// its host.
func stuck(t *testing.T, effect string, strategy model.Strategy, o model.UpdateOptions) *world {
	t.Helper()
	w := deployed(t)
	w.mute[effect] = true
	w.begin(strategy, "v2", 2, o)
	w.settle()
	return w
}

func TestACandidateThatRanOnASilentHostIsPlacedElsewhere(t *testing.T) {
	for _, effect := range []string{"Verify", "Observe"} {
		w := stuck(t, effect, model.BlueGreen, model.UpdateOptions{})
		lost, until := w.state.Update.New, w.state.Update.StartedUntil
		delete(w.mute, effect)
		w.mute["Prepare"] = true
		w.now = w.now.Add(20 * time.Minute) // longer than what is left of PENDING
		w.silence()
		u := w.state.Update
		if u.New.Host != "h9" || !u.Deadline.Equal(until) || u.Healthy || u.Attested || u.New.Endpoint != "" {
			t.Fatalf("%s: the candidate is %+v until %s (healthy %v, attested %v), want a new one on h9 until %s", effect, u.New, u.Deadline, u.Healthy, u.Attested, until)
		}
		if l := w.state.Container.Leftovers; len(l) != 1 || l[0].ID != lost.ID {
			t.Errorf("%s: left over are %v, want %s", effect, l, lost.ID)
		}
		if err := w.send(Prepared{Enclave: u.New.ID}); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.back()
		w.want(model.Succeeded, model.Running, u.New.ID)
		if got := w.state.Update.StartedUntil; !got.Equal(until) {
			t.Errorf("%s: it had until %s to become healthy, want %s: a move gives no more time", effect, got, until)
		}
	}
}

func TestHostsThatFallSilentInTurnDontMakeAnUpdateLast(t *testing.T) {
	w := stuck(t, "Verify", model.BlueGreen, model.UpdateOptions{})
	until := w.state.Update.StartedUntil
	for i := 0; w.state.Update.Outcome == ""; i++ {
		if w.now.After(until) {
			t.Fatalf("it is in %s on %s at %s, want it over at %s", w.state.Update.Step, w.state.Update.New.Host, w.now, until)
		}
		w.now = w.now.Add(2 * time.Minute)
		w.silence()
		w.pass()
	}
	if u := w.state.Update; u.Outcome != model.UpdateFailed || w.state.Route.Enclave != "c1-r1-1" {
		t.Errorf("it is %s with the route to %s, want it failed and the old version serving", u.Outcome, w.state.Route.Enclave)
	}
}

func TestAHeldCandidateOnASilentHostWaitsAndIsNotAccepted(t *testing.T) {
	w := deployed(t)
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{Hold: true})
	w.settle()
	u := w.state.Update
	w.silent(u.New, false)
	var refused *Refused
	if err := w.send(Accept{ID: u.ID}); !errors.As(err, &refused) || refused.Reason != "NOT_HEALTHY" {
		t.Errorf("accepting a candidate whose host does not answer gives %v, want NOT_HEALTHY", err)
	}
	w.silence()
	if u := w.state.Update; u.Step != model.StepHold || u.New.Host != "h1" || u.Replanning {
		t.Fatalf("it is in step %s on %s, want it held where a person looked at it", u.Step, u.New.Host)
	}
	if err := w.send(w.observe(u.New, model.EnclaveHealthy)); err != nil {
		t.Fatal(err)
	}
	if err := w.send(Accept{ID: u.ID}); err != nil {
		t.Errorf("it is not accepted when its host is back: %v", err)
	}
}

func TestAReplaceStopsNothingOnASilentHost(t *testing.T) {
	for name, happens := range map[string]func(w *world){
		"while the route is held": func(w *world) { w.silent(w.state.Update.New, false) },
		"before it is": func(w *world) {
			w.silent(*w.state.Container.Active, false)
			w.queue = append(w.queue, Acknowledged{w.state.Route.Domain, w.state.Route.Generation})
			w.settle()
		},
	} {
		w := stuck(t, "AwaitAck", model.Replace, model.UpdateOptions{})
		if w.state.Update.Step != model.StepHoldRoute {
			t.Fatalf("it is in %s", w.state.Update.Step)
		}
		happens(w)
		w.settle()
		u, c := w.state.Update, w.state.Container
		if u.Status != model.UpdateFailed || u.Reason != "HOST_SILENT" || u.OldStopping {
			t.Errorf("%s: update is %s (%s), old stopping %v, want it failed before that", name, u.Status, u.Reason, u.OldStopping)
		}
		if c.Status != model.Running || w.state.Route.State != model.RouteServing || w.state.Route.Enclave != "c1-r1-1" {
			t.Errorf("%s: container is %s, its route %s to %s, want the old version serving", name, c.Status, w.state.Route.State, w.state.Route.Enclave)
		}
	}
}

func TestAReplaceWhoseHostFallsSilentGoesOnElsewhereOnceTheOldIsProvedGone(t *testing.T) {
	for _, effect := range []string{"AwaitFree", "Create", "Verify"} {
		w := stuck(t, effect, model.Replace, model.UpdateOptions{})
		lost := w.state.Update.New.ID
		if !w.state.Update.OldGone {
			t.Fatalf("%s: the old enclave is not proved gone in %s", effect, w.state.Update.Step)
		}
		delete(w.mute, effect)
		w.silence()
		if u := w.state.Update; u.New.ID == lost || u.New.Host != "h9" {
			t.Errorf("%s: %s serves on %s, want another one on h9", effect, u.New.ID, u.New.Host)
		}
		if left := len(w.state.Container.Leftovers); left != map[string]int{"AwaitFree": 0, "Create": 1, "Verify": 1}[effect] {
			t.Errorf("%s: %d are left over: what was told to boot is, and nothing else", effect, left)
		}
		w.back()
		w.want(model.Succeeded, model.Running, w.state.Update.New.ID)
	}
}

func TestAReplaceBeforeTheProofWaitsForItsHost(t *testing.T) {
	w := stuck(t, "Halt", model.Replace, model.UpdateOptions{})
	if w.state.Update.Step != model.StepStopOld {
		t.Fatalf("it is in %s", w.state.Update.Step)
	}
	w.silence()
	if u := w.state.Update; u.New.Host != "h1" || u.Replanning || u.Step != model.StepStopOld {
		t.Errorf("it is in %s on %s, want it waiting for h1: nobody has proved that %s stopped", u.Step, u.New.Host, u.Old.ID)
	}
}

func TestARestoreGoesOnElsewhereWhenItsHostFallsSilent(t *testing.T) {
	w := deployed(t)
	w.answers["Verify"] = func(e Effect) []Event {
		id := e.(Verify).Enclave.ID
		if strings.Contains(id, "-r2-") {
			return []Event{Verified{Enclave: id, Failure: &Failure{Reason: "ATTESTATION_REFUSED", Text: "no"}}}
		}
		return []Event{Verified{Enclave: id, Verdict: &model.Verdict{Accepted: true}}}
	}
	w.answers["AwaitFree"] = func(e Effect) []Event {
		if id := e.(AwaitFree).Enclave; strings.Contains(id.ID, "-r1-") && id.Host == "h1" {
			return nil
		}
		return []Event{Freed{e.(AwaitFree).Enclave.ID}}
	}
	w.begin(model.Replace, "v2", 2, model.UpdateOptions{RestoreOnFailure: true})
	w.settle()
	if u := w.state.Update; !u.Restoring || u.Step != model.StepAwaitFree {
		t.Fatalf("it is in %s, restoring %v", u.Step, u.Restoring)
	}
	w.silence()
	w.want(model.UpdateFailed, model.Running, w.state.Update.New.ID)
	if a := w.state.Container.Active; a.Host != "h9" || a.Revision != 1 {
		t.Errorf("revision %d serves on %s, want revision 1 on h9", a.Revision, a.Host)
	}
}

func TestTheStatusOfWhatServesSaysThatItsHostIsSilent(t *testing.T) {
	w := deployed(t)
	since := w.now
	w.silent(*w.state.Container.Active, false)
	c := w.state.Container
	if c.Silent == nil || c.Silent.Host != "h1" || !c.Silent.Since.Equal(since) || c.Status != model.Running || len(w.queue) != 0 {
		t.Fatalf("container is %s with silence %+v, want it RUNNING on h1, silent since %s, and nothing done", c.Status, c.Silent, since)
	}
	w.now = w.now.Add(time.Hour)
	w.silent(*w.state.Container.Active, true)
	if got := w.state.Container.Silent.Since; !got.Equal(since) {
		t.Errorf("silent since %s, want since %s", got, since)
	}
	if err := w.send(w.observe(*w.state.Container.Active, model.EnclaveHealthy)); err != nil {
		t.Fatal(err)
	}
	if w.state.Container.Silent != nil {
		t.Error("its host answers, and the status says that it does not")
	}
	if !slices.Contains(w.log, "HOST_UNREACHABLE") || !slices.Contains(w.log, "HOST_ANSWERS") {
		t.Errorf("told was %v, want that the host was lost and found", w.log)
	}
}

func TestSilenceEndsWithWhatServed(t *testing.T) {
	w := deployed(t)
	w.silent(*w.state.Container.Active, true)
	if err := w.send(HostGone{Host: "h1"}); err != nil {
		t.Fatal(err)
	}
	if c := w.state.Container; c.Silent != nil || c.Active != nil {
		t.Errorf("%+v serves, and silent is %+v, want neither", c.Active, c.Silent)
	}
}

func TestTheGatewaysAreToldWhatWasLostWithAHost(t *testing.T) {
	w := deployed(t)
	lost := w.state.Container.Active.ID
	if err := w.send(HostGone{Host: "h1"}); err != nil {
		t.Fatal(err)
	}
	r := w.state.Route
	if !slices.Equal(r.Lost, []string{lost}) || !r.Updated.Equal(w.now) {
		t.Errorf("the route of %s names %v as lost, want %s at %s", r.Updated, r.Lost, lost, w.now)
	}
	for range 2 * keptLost {
		w.pass()
		w.settle()
		if a := w.state.Container.Active; a != nil {
			w.now = w.now.Add(time.Hour) // long enough for the attempts to be counted anew
			if err := w.send(HostGone{Host: a.Host}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(w.state.Route.Lost); n == 0 || n > keptLost {
		t.Errorf("%d enclaves are named as lost, want at most %d", n, keptLost)
	}
}

func TestASwitchGoesOnWhenTheOldVersionsHostIsLost(t *testing.T) {
	w := deployed(t)
	w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
	w.state.Update.New.Host = "h2"
	w.mute["AwaitAck"] = true
	w.settle()
	if w.state.Update.Step != model.StepSwitch {
		t.Fatalf("it is in %s", w.state.Update.Step)
	}
	for _, ev := range []Event{HostGone{Host: "h1"}, Acknowledged{w.state.Route.Domain, w.state.Route.Generation}} {
		if err := w.send(ev); err != nil {
			t.Fatal(err)
		}
	}
	w.settle()
	delete(w.alive, "c1-r1-1") // it burnt down with its host
	w.want(model.Succeeded, model.Running, "c1-r2-2")
}

func TestWithoutAnotherPlaceAForgottenHostIsNotWaitedFor(t *testing.T) {
	w := deployed(t)
	w.mute["Halt"], w.mute["AwaitFree"] = true, true
	w.answers["Replan"] = func(e Effect) []Event {
		return []Event{Replanned{Failed: e.(Replan).Failed.ID, Failure: &Failure{Reason: "NO_CAPACITY", Text: "h2: 4 of 8 GPUs"}}}
	}
	w.begin(model.Replace, "v2", 2, model.UpdateOptions{RestoreOnFailure: true})
	w.settle()
	if u := w.state.Update; u.Step != model.StepStopOld {
		t.Fatalf("it is in %s", u.Step)
	}
	began := w.now
	if err := w.send(HostGone{Host: "h1"}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	c, u := w.state.Container, w.state.Update
	if c.Status != model.Failed || !w.now.Equal(began) || u.Status != model.UpdateFailed {
		t.Fatalf("%s after %s, its update in %s until %s; want both FAILED at once", c.Status, w.now.Sub(began), u.Step, u.Deadline)
	}
	for _, want := range []string{"h1 was given up", "h2: 4 of 8 GPUs"} {
		if !strings.Contains(c.Text, want) {
			t.Errorf("the container says %q, want that it has %q", c.Text, want)
		}
	}
}
