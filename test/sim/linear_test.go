package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

// op is what a user asks of one container, ret what the answer was.
type op struct {
	what string
	// update is the update that an accept, a cancel or a supersede is about.
	update int64
}

type ret struct {
	ok bool
	// update is the update that was started, or that get found; ended and
	// cancelled are what get found of it.
	update  int64
	outcome string
}

// container is the model: the number of the last update, and what was decided of
// it. What the engine does by itself (a candidate becomes ready, fails, ends) may
// happen at any time, so the model allows it before every operation.
type container struct {
	update int64
	// fate is "" while nothing is decided, "accepted", "cancelled" or "ended".
	fate string
}

// step says whether an answer is possible in a state, and what follows.
func (c container) step(o op, r ret) []container {
	var out []container
	for _, s := range c.futures() {
		if next, ok := s.answer(o, r); ok {
			out = append(out, next)
		}
	}
	return out
}

// futures are what a state may have become by itself.
func (c container) futures() []container {
	if c.update == 0 || c.fate == "ended" || c.fate == "cancelled and ended" {
		return []container{c}
	}
	end := container{c.update, "ended"}
	if c.fate == "cancelled" {
		end.fate = "cancelled and ended"
	}
	return []container{c, end}
}

func (c container) answer(o op, r ret) (container, bool) {
	ended := c.fate == "ended" || c.fate == "cancelled and ended"
	about := o.update == c.update && !ended
	switch o.what {
	case "start":
		if !r.ok {
			return c, !ended
		}
		return container{update: r.update}, ended && r.update == c.update+1
	case "accept":
		if !r.ok {
			return c, true
		}
		return container{c.update, "accepted"}, about && c.fate == ""
	case "cancel":
		if !r.ok {
			return c, !about || c.fate == "accepted" || c.fate == ""
		}
		return container{c.update, "cancelled"}, about && c.fate != "accepted"
	default:
		switch r.outcome {
		case string(model.UpdateCancelled):
			return c, r.update == c.update && c.fate == "cancelled and ended"
		case string(model.Succeeded), string(model.UpdateFailed):
			return c, r.update == c.update && c.fate == "ended"
		}
		return c, r.update == c.update && !ended
	}
}

var oneContainer = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{container{update: 1, fate: "ended"}} },
	Step: func(s, in, out any) []any {
		var next []any
		for _, c := range s.(container).step(in.(op), out.(ret)) {
			next = append(next, c)
		}
		return next
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%+v -> %+v", in, out)
	},
}).ToModel()

// TestRequestsAreLinearizable asks for updates of one container, accepts, cancels
// and looks at them from several users at once, and checks that the answers could
// have been given one after the other.
func TestRequestsAreLinearizable(t *testing.T) {
	total := map[string]int{}
	for seed := uint64(1); seed <= 60; seed++ {
		history := concurrently(t, seed)
		for _, o := range history {
			r := o.Output.(ret)
			total[fmt.Sprintf("%s ok=%v", o.Input.(op).what, r.ok)]++
		}
		if res, _ := porcupine.CheckOperationsVerbose(oneContainer, history, 20*time.Second); res != porcupine.Ok {
			for _, o := range history {
				t.Logf("user %d %d..%d: %+v -> %+v", o.ClientId, o.Call, o.Return, o.Input, o.Output)
			}
			t.Fatalf("seed %d: no order explains these answers (%v)", seed, res)
		}
	}
	for _, want := range []string{"start ok=true", "start ok=false", "accept ok=true", "accept ok=false", "cancel ok=true", "cancel ok=false"} {
		if total[want] == 0 {
			t.Errorf("no history had a %s: %v", want, total)
		}
	}
	t.Logf("answers: %v", total)
}

func concurrently(t *testing.T, seed uint64) []porcupine.Operation {
	t.Helper()
	var history []porcupine.Operation
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(plot{seed: 3}, memory.New(memory.Config{}))
		w.tame = true
		w.startCoordinator()
		w.pass(10 * time.Second)
		w.mu.Lock()
		w.submit(request{id: "q0", create: true, key: (action{}).key(), spec: model.ContainerSpec{Repository: "one", Tag: "v1", Domain: "api.example"}}, false)
		w.mu.Unlock()
		w.pass(5 * time.Minute)
		results := make(chan porcupine.Operation, 256)
		for user := range 4 {
			go w.user(user, rand.New(rand.NewPCG(seed, uint64(user))), results)
		}
		for range 4 * opsPerUser {
			history = append(history, <-results)
		}
		w.end()
		if w.violation != nil {
			t.Errorf("%s: %s", w.violation.invariant, w.violation.text)
		}
	})
	return history
}

const opsPerUser = 12

// user makes requests one after the other.
func (w *world) user(id int, rng *rand.Rand, results chan<- porcupine.Operation) {
	c := w.coords[0]
	tick := int64(0)
	for i := range opsPerUser {
		time.Sleep(time.Duration(rng.Int64N(int64(40 * time.Second))))
		o := op{what: [...]string{"start", "start", "accept", "accept", "cancel", "get"}[rng.IntN(6)]}
		call := time.Since(w.began).Nanoseconds()*10 + tick
		r := w.request(c, &o, fmt.Sprintf("u%d-%d", id, i))
		results <- porcupine.Operation{ClientId: id, Input: o, Call: call, Output: r, Return: time.Since(w.began).Nanoseconds()*10 + 9}
	}
}

// request makes one, and says what came of it. An accept or cancel is about the
// update that is found first, which may be another one by the time it is decided.
func (w *world) request(c *coordinator, o *op, id string) ret {
	ctx, key := context.Background(), (action{}).key()
	item, err := records.Get(ctx, c.rec, records.Containers, records.ContainerKey(key))
	if err != nil {
		panic(err)
	}
	last := item.Value.LastUpdate
	number := item.Value.Updates
	o.update = number
	do := func(ev engine.Event) bool {
		_, err := c.run.Do(ctx, key, func(context.Context, *records.Loaded) (engine.Event, records.Extra, error) {
			return ev, records.Extra{}, nil
		})
		return err == nil
	}
	switch o.what {
	case "start":
		spec := item.Value.Spec
		spec.Tag = "v2"
		r := request{id: id, key: key, spec: spec, options: model.UpdateOptions{Hold: true}}
		err := r.start(ctx, c)
		if err != nil {
			var refused *engine.Refused
			if !errors.As(err, &refused) {
				panic(err)
			}
			return ret{}
		}
		req, err := records.Get(ctx, c.rec, records.Requests, records.RequestKey(key.Org, id))
		if err != nil {
			panic(err)
		}
		u, err := c.rec.Update(ctx, key, req.Value.Update)
		if err != nil {
			panic(err)
		}
		return ret{ok: true, update: u.Value.Number}
	case "accept":
		return ret{ok: do(engine.Accept{ID: last})}
	case "cancel":
		return ret{ok: do(engine.Cancel{ID: last, Reason: "CANCELLED", Text: "no"})}
	}
	u, err := c.rec.Update(ctx, key, last)
	if err != nil {
		panic(err)
	}
	if !u.Value.Status.Ended() {
		return ret{ok: true, update: number, outcome: "running"}
	}
	return ret{ok: true, update: number, outcome: string(u.Value.Status)}
}

// TestTheModelsRefuseWhatCannotBe: an accept and a cancel of one update can't
// both be granted, nor can a card be given twice.
func TestTheModelsRefuseWhatCannotBe(t *testing.T) {
	at := func(n int64, in, out any) porcupine.Operation {
		return porcupine.Operation{ClientId: int(n), Input: in, Call: n * 10, Output: out, Return: n*10 + 5}
	}
	both := []porcupine.Operation{
		at(1, op{what: "start", update: 1}, ret{ok: true, update: 2}),
		at(2, op{what: "accept", update: 2}, ret{ok: true}),
		at(3, op{what: "cancel", update: 2}, ret{ok: true}),
	}
	if porcupine.CheckOperations(oneContainer, both) {
		t.Error("an update that was accepted was cancelled, and the model believes it")
	}
	twice := []porcupine.Operation{
		at(1, claimOp{enclave: "a", cards: [2]int{0, 2}}, true),
		at(2, claimOp{enclave: "b", cards: [2]int{0, 3}}, true),
	}
	if porcupine.CheckOperations(oneLedger, twice) {
		t.Error("a card was given twice, and the model believes it")
	}
}
