package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

// op is what a user asks of one container, ret what the answer was.
type op struct {
	what string
	// update is the update that an accept, a cancel or a supersede is about.
	update int64
	// superseding: what was in progress was to make room.
	superseding bool
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
		if o.what == "may cancel" {
			out = append(out, s)
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
	case "may cancel":
		return container{c.update, "cancelled"}, !ended && c.fate != "accepted"
	default:
		switch r.outcome {
		case cv1.UpdateStatus_UPDATE_STATUS_CANCELLED.String():
			return c, r.update == c.update && c.fate == "cancelled and ended"
		case cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED.String(), cv1.UpdateStatus_UPDATE_STATUS_FAILED.String():
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
			what := o.Input.(op).what
			if o.Input.(op).superseding {
				what = "supersede"
			}
			total[fmt.Sprintf("%s ok=%v", what, r.ok)]++
		}
		if res, _ := porcupine.CheckOperationsVerbose(oneContainer, history, searchLimit); res != porcupine.Ok {
			for _, o := range history {
				t.Logf("user %d %d..%d: %+v -> %+v", o.ClientId, o.Call, o.Return, o.Input, o.Output)
			}
			t.Fatalf("seed %d: no order explains these answers (%v)", seed, res)
		}
	}
	for _, want := range []string{"start ok=true", "start ok=false", "supersede ok=true", "accept ok=true", "accept ok=false", "cancel ok=true", "cancel ok=false"} {
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
		w.found()
		w.pass(10 * time.Second)
		w.mu.Lock()
		w.submit(w.creates("api", &cv1.ContainerSpec{Repository: repository("one"), Tag: "v1", Domain: domain("api")}))
		w.mu.Unlock()
		w.pass(5 * time.Minute)
		results := make(chan []porcupine.Operation, users)
		for user := range users {
			go func() { results <- w.user(user, rand.New(rand.NewPCG(seed, uint64(user)))) }()
		}
		for range users {
			history = append(history, <-results...)
		}
		w.end()
		if w.violation != nil {
			t.Errorf("%s: %s", w.violation.invariant, w.violation.text)
		}
	})
	return history
}

const users, opsPerUser = 4, 12

// user makes requests one after the other. To supersede is two things in one: to
// cancel what is in progress, if there is something, and to start. They are two
// operations of two clients, as somebody may look in between.
func (w *world) user(id int, rng *rand.Rand) []porcupine.Operation {
	c := w.coords[0].conn
	var out []porcupine.Operation
	for range opsPerUser {
		time.Sleep(time.Duration(rng.Int64N(int64(40 * time.Second))))
		o := op{what: [...]string{"start", "start", "supersede", "accept", "accept", "cancel", "get"}[rng.IntN(7)]}
		call := time.Since(w.began).Nanoseconds() * 10
		r := w.request(c, &o)
		end := time.Since(w.began).Nanoseconds()*10 + 9
		if o.what == "supersede" {
			out = append(out, porcupine.Operation{ClientId: users + id, Input: op{what: "may cancel"}, Call: call, Output: ret{}, Return: end})
			o.what, o.superseding = "start", true
		}
		out = append(out, porcupine.Operation{ClientId: id, Input: o, Call: call, Output: r, Return: end})
	}
	return out
}

// request makes one, and says what came of it. An accept or cancel is about the
// update that is found first, which may be another one by the time it is decided.
func (w *world) request(c *conn, o *op) ret {
	ctx, api := context.Background(), cv1.NewUpdateServiceClient(c)
	found, err := api.GetUpdate(ctx, &cv1.GetUpdateRequest{Org: org, Container: "api"})
	if err != nil {
		panic(err)
	}
	last := found.GetUpdate()
	o.update = number(last)
	switch o.what {
	case "start", "supersede":
		out, err := api.StartUpdate(ctx, &cv1.StartUpdateRequest{
			Org: org, Container: "api", Spec: &cv1.ContainerSpec{Tag: "v2"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tag"}},
			Options: &cv1.UpdateOptions{Hold: true, Supersede: o.what == "supersede"},
		})
		if err != nil && rpc.Reason(err) != "UPDATE_IN_PROGRESS" {
			panic(err)
		}
		return ret{ok: err == nil, update: number(out.GetUpdate())}
	case "accept":
		_, err := api.AcceptUpdate(ctx, &cv1.AcceptUpdateRequest{Org: org, Container: "api", Id: last.GetId()})
		return ret{ok: err == nil}
	case "cancel":
		_, err := api.CancelUpdate(ctx, &cv1.CancelUpdateRequest{Org: org, Container: "api", Id: last.GetId()})
		return ret{ok: err == nil}
	}
	return ret{ok: true, update: number(last), outcome: last.GetStatus().String()}
}

// number is that of an update's id.
func number(u *cv1.Update) int64 {
	n, _ := strconv.ParseInt(strings.TrimPrefix(u.GetId(), "api-u"), 10, 64)
	return n
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
