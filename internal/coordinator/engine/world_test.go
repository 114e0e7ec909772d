package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// world carries out effects as a perfect fleet would, unless told otherwise. It
// holds events back until they are delivered, so that a test decides what comes
// first.
type world struct {
	t      *testing.T
	engine Engine
	state  State
	now    time.Time
	queue  []Event
	log    []string
	// alive are the enclaves that exist on hosts.
	alive map[string]bool
	// ever are all that were created.
	ever []string
	// mute keeps effects of these types unanswered.
	mute map[string]bool
	// answers replace the perfect answer.
	answers map[string]func(Effect) []Event
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{
		t: t, engine: Engine{Limits: DefaultLimits()}, now: time.Unix(1_700_000_000, 0).UTC(),
		alive: map[string]bool{}, mute: map[string]bool{}, answers: map[string]func(Effect) []Event{},
		state: State{
			Container: &model.Container{
				Org: "acme", Name: "api", UID: "c1", Status: model.Deploying,
				Spec: model.ContainerSpec{Tag: "v1", Domain: "api.example"},
			},
			Route: &model.Route{Domain: "api.example", State: model.RouteClosed},
		},
	}
}

func kindOf(v any) string {
	s := fmt.Sprintf("%T", v)
	return s[len("engine."):]
}

// send delivers one event and carries out its effects; it returns the refusal.
func (w *world) send(ev Event) error {
	w.t.Helper()
	r, err := w.engine.Step(w.state, ev, w.now)
	if err != nil {
		return err
	}
	w.state = r.State
	for _, l := range r.Log {
		w.log = append(w.log, l.Reason)
	}
	for _, e := range r.Effects {
		w.carryOut(e)
	}
	return nil
}

func (w *world) carryOut(e Effect) {
	kind := kindOf(e)
	if w.mute[kind] {
		return
	}
	if f := w.answers[kind]; f != nil {
		w.queue = append(w.queue, f(e)...)
		return
	}
	w.queue = append(w.queue, w.perfect(e)...)
}

func (w *world) perfect(e Effect) []Event {
	switch e := e.(type) {
	case Prepare:
		return []Event{Prepared{Enclave: e.Enclave.ID}}
	case Create:
		w.alive[e.Enclave.ID] = true
		w.ever = append(w.ever, e.Enclave.ID)
		return []Event{Created{Enclave: e.Enclave.ID}, w.observe(e.Enclave, model.EnclaveAttesting)}
	case Verify:
		return []Event{Verified{Enclave: e.Enclave.ID, Verdict: &model.Verdict{Accepted: true}}}
	case Observe:
		if w.alive[e.Enclave.ID] && w.state.Update != nil && w.state.Update.Step == model.StepHealth {
			return []Event{w.observe(e.Enclave, model.EnclaveHealthy)}
		}
	case Halt:
		delete(w.alive, e.Enclave.ID)
		return []Event{w.observe(e.Enclave, model.EnclaveStopped)}
	case AwaitFree:
		return []Event{Freed{e.Enclave.ID}}
	case AwaitAck:
		return []Event{Acknowledged{e.Domain, e.Generation}}
	case AwaitDrain:
		return []Event{Drained{e.Enclave, 2}, Drained{e.Enclave, 0}}
	case Replan:
		return []Event{Replanned{Failed: e.Failed.ID, Host: "h9"}}
	case Place:
		return []Event{Placed{Host: "h2"}}
	case WithdrawDNS:
		return []Event{Withdrawn{e.Domain}}
	}
	return nil
}

func (w *world) observe(ref model.EnclaveRef, state model.EnclaveState) Event {
	return Observed{model.Observation{Enclave: ref.ID, Host: ref.Host, State: state, Endpoint: ref.Host + ":1"}}
}

// settle delivers until nothing is left to deliver.
func (w *world) settle() {
	w.t.Helper()
	for range 1000 {
		if len(w.queue) == 0 {
			return
		}
		ev := w.queue[0]
		w.queue = w.queue[1:]
		if err := w.send(ev); err != nil {
			w.t.Fatalf("event %T was refused: %v", ev, err)
		}
	}
	w.t.Fatal("the engine does not come to rest")
}

// pass lets time go by to the next deadline, and settles.
func (w *world) pass() {
	w.t.Helper()
	at := Deadline(w.state)
	if at.IsZero() {
		w.t.Fatal("nothing has a deadline")
	}
	w.now = at
	if err := w.send(Tick{}); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
}

func plan(strategy model.Strategy, tag string, o model.UpdateOptions) model.Update {
	return model.Update{
		Kind: model.KindUpdate, Strategy: strategy, Options: o, ToTag: tag,
		New:     model.EnclaveRef{Host: "h1", Tag: tag, Room: model.Room{GPUs: 1}},
		NewSpec: model.ContainerSpec{Tag: tag, Domain: "api.example"},
	}
}

func (w *world) begin(strategy model.Strategy, tag string, revision int64, o model.UpdateOptions) {
	w.t.Helper()
	if err := w.send(Start{Update: plan(strategy, tag, o), Revision: revision}); err != nil {
		w.t.Fatalf("start: %v", err)
	}
}

// deployed returns a world in which v1 serves.
func deployed(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.begin(model.BlueGreen, "v1", 1, model.UpdateOptions{})
	w.settle()
	w.want(model.Succeeded, model.Running, "c1-r1-1")
	return w
}

// want checks how the update ended, what the container is, and what serves.
func (w *world) want(update model.UpdateStatus, container model.ContainerStatus, serves string) {
	w.t.Helper()
	c := w.state.Container
	if w.state.Update.Status != update {
		w.t.Errorf("update is %s (%s, %s), want %s", w.state.Update.Status, w.state.Update.Step, w.state.Update.Text, update)
	}
	if c.Status != container {
		w.t.Errorf("container is %s (%s), want %s", c.Status, c.Text, container)
	}
	got := ""
	if c.Active != nil {
		got = c.Active.ID
	}
	if got != serves {
		w.t.Errorf("%q serves, want %q", got, serves)
	}
	if serves != "" && (w.state.Route.Enclave != serves || w.state.Route.State != model.RouteServing) {
		w.t.Errorf("route is %s to %s, want it serving to %s", w.state.Route.State, w.state.Route.Enclave, serves)
	}
	w.quiet(serves)
}

// quiet checks that nothing is left over once an update has ended.
func (w *world) quiet(serves string) {
	w.t.Helper()
	if !w.state.Update.Status.Ended() {
		return
	}
	for id := range w.alive {
		if id != serves {
			w.t.Errorf("enclave %s still runs", id)
		}
	}
	for id, r := range w.state.Reservations {
		if id != serves || r.After != "" {
			w.t.Errorf("reservation %+v stands", r)
		}
	}
	if w.state.Container.Update != "" {
		w.t.Errorf("container still names update %s", w.state.Container.Update)
	}
}
