package engine

import (
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// silence tells that the candidate's host has not answered for long.
func (w *world) silence() {
	w.t.Helper()
	u := w.state.Update
	if err := w.send(w.observe(u.New, model.EnclaveSilent)); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
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

func TestSilenceMovesNothingElse(t *testing.T) {
	t.Run("a replace", func(t *testing.T) {
		w := deployed(t)
		w.mute["Create"] = true
		w.begin(model.Replace, "v2", 2, model.UpdateOptions{})
		w.settle()
		w.silence()
		if u := w.state.Update; u.Replanning || u.New.Host != "h1" {
			t.Errorf("it goes to %s: its GPUs are free on h1 only", u.New.Host)
		}
	})
	t.Run("a candidate that runs", func(t *testing.T) {
		w := deployed(t)
		w.mute["Verify"] = true
		w.begin(model.BlueGreen, "v2", 2, model.UpdateOptions{})
		w.settle()
		w.silence()
		if u := w.state.Update; u.Replanning || u.New.Host != "h1" || u.Step != model.StepAttest {
			t.Errorf("it is in step %s on %s, want it waited for", u.Step, u.New.Host)
		}
	})
	t.Run("what serves", func(t *testing.T) {
		w := deployed(t)
		before := w.state
		if err := w.send(w.observe(*w.state.Container.Active, model.EnclaveSilent)); err != nil {
			t.Fatal(err)
		}
		if w.state.Container.Status != model.Running || w.state.Container.Unhealthy != before.Container.Unhealthy || len(w.queue) != 0 {
			t.Errorf("it is %s: it may well serve", w.state.Container.Status)
		}
	})
}
