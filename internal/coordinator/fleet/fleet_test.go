package fleet

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/rpc"
)

const (
	healthy = agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY
	booting = agentv1.EnclaveState_ENCLAVE_STATE_BOOTING
	stopped = agentv1.EnclaveState_ENCLAVE_STATE_STOPPED
)

func promise(id string, gpus int, after string) model.Reservation {
	return model.Reservation{Enclave: id, Host: "h1", Org: "acme", Container: "api", Room: model.Room{GPUs: gpus, CPUs: 4, MemoryMiB: 1024}, After: after}
}

func status(t *testing.T, f *Fleet) (Status, string) {
	t.Helper()
	v, err := f.View("h1")
	if err != nil {
		t.Fatal(err)
	}
	return v.Status, v.Text
}

// bubble runs a test on virtual time with an agent that is up.
func bubble(t *testing.T, a *agent, f func(t *testing.T, f *Fleet, h *heard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fl, h := joined(t, a)
		synctest.Wait()
		f(t, fl, h)
	})
}

func TestTheSnapshotThenChanges(t *testing.T) {
	a := newAgent()
	a.enclaves["e1"] = enclave("e1", booting, true)
	foreign := enclave("x1", healthy, true)
	foreign.ClusterId = "c2"
	a.enclaves["x1"] = foreign
	bubble(t, a, func(t *testing.T, f *Fleet, h *heard) {
		if s, _ := status(t, f); s != Ready {
			t.Fatalf("host is %s, want READY", s)
		}
		got := h.take()
		if len(got) != 1 || got[0].Enclave != "e1" || got[0].State != model.EnclaveBooting || got[0].Key != (model.ContainerKey{Org: "acme", Name: "api"}) {
			t.Errorf("heard %+v, want the enclave of our cluster", got)
		}
		a.say(enclave("e1", healthy, true))
		synctest.Wait()
		if got := h.take(); len(got) != 1 || got[0].State != model.EnclaveHealthy {
			t.Errorf("heard %+v, want that it is healthy", got)
		}
		if all, synced := f.Enclaves("h1"); len(all) != 1 || !synced {
			t.Errorf("the fleet lists %v (%v), want ours only", all, synced)
		}
		for _, fence := range a.fences {
			if fence.GetClusterId() != "c1" || fence.GetEpoch() != 3 {
				t.Errorf("called with fence %v", fence)
			}
		}
	})
}

func TestOneStreamTellsOfHostAndEnclaves(t *testing.T) {
	a := newAgent()
	a.together = true
	a.enclaves["e1"] = enclave("e1", healthy, true)
	bubble(t, a, func(t *testing.T, f *Fleet, h *heard) {
		for _, gpus := range []int{8, 4} {
			if s, text := status(t, f); s != Ready || f.Plan()[0][0].Free.GPUs != gpus {
				t.Errorf("host is %s (%s) with %d GPUs free, want READY with %d", s, text, f.Plan()[0][0].Free.GPUs, gpus)
			}
			if got := h.take(); len(got) != 1 || got[0].Enclave != "e1" {
				t.Errorf("heard %+v, want e1", got)
			}
			a.sayFacts(facts(4))
			synctest.Wait()
			if free := f.Plan()[0][0].Free.GPUs; free != 4 {
				t.Errorf("%d GPUs are free after the host has said 4", free)
			}
			a.down()
			synctest.Wait()
			if s, _ := status(t, f); s != Unreachable {
				t.Errorf("host is %s, want UNREACHABLE", s)
			}
			a.serve()
			time.Sleep(time.Minute)
			synctest.Wait()
		}
	})
}

func TestAbsenceIsToldOfPromisedEnclavesOnly(t *testing.T) {
	a := newAgent()
	a.enclaves["e1"] = enclave("e1", healthy, true)
	hold := make(chan struct{})
	synctest.Test(t, func(t *testing.T) {
		hold = make(chan struct{})
		a.holdEnclaves = hold
		f, h := joined(t, a)
		f.Promise(promise("e1", 1, ""))
		f.Promise(promise("e2", 1, ""))
		synctest.Wait()
		if got := h.take(); len(got) != 0 {
			t.Errorf("heard %+v before the host has told all", got)
		}
		if _, known := f.Observe("h1", "e2"); known {
			t.Error("an enclave is known to be absent before the host has told all")
		}
		close(hold)
		synctest.Wait()
		got := h.take()
		if len(got) != 2 || got[1].Enclave != "e2" || got[1].State != model.EnclaveAbsent {
			t.Errorf("heard %+v, want e1 and that e2 is absent", got)
		}
		a.forget("e1")
		synctest.Wait()
		if got := h.take(); len(got) != 1 || got[0].State != model.EnclaveAbsent {
			t.Errorf("heard %+v, want that e1 is absent", got)
		}
	})
}

func TestPromisesAndClaimsAreCountedOnce(t *testing.T) {
	for _, tc := range []struct {
		rule     string
		facts    *agentv1.Host
		enclaves []*agentv1.Enclave
		promises []model.Reservation
		free     int
		offers   []int
	}{
		{"an idle host gives all", facts(8), nil, nil, 8, []int{0, 1, 2, 4, 8}},
		{"a promise takes room", facts(8), nil, []model.Reservation{promise("e1", 2, "")}, 6, []int{0, 1, 2, 4}},
		{
			"a claim stands for its promise", held(8, map[string]int{"e1": 2}), []*agentv1.Enclave{enclave("e1", booting, true)},
			[]model.Reservation{promise("e1", 2, "")}, 6, []int{0, 1, 2, 4},
		}, {
			"a claim that the facts don't show yet does not stand for its promise", facts(8), []*agentv1.Enclave{enclave("e1", booting, true)},
			[]model.Reservation{promise("e1", 2, "")}, 6, []int{0, 1, 2, 4},
		}, {
			"a claim in the facts stands for its promise before the enclave is told of", held(8, map[string]int{"e1": 2}), nil,
			[]model.Reservation{promise("e1", 2, "")}, 6, []int{0, 1, 2, 4},
		}, {
			"a replacement counts once with what it replaces", held(8, map[string]int{"e1": 8}), []*agentv1.Enclave{enclave("e1", healthy, true)},
			[]model.Reservation{promise("e1", 8, ""), promise("e2", 8, "e1")}, 0, []int{0},
		}, {
			"and still once when the old claim is released", facts(8), []*agentv1.Enclave{enclave("e1", stopped, false)},
			[]model.Reservation{promise("e1", 8, ""), promise("e2", 8, "e1")}, 0, []int{0},
		}, {
			"and still when the old promise is gone", facts(8), nil,
			[]model.Reservation{promise("e2", 8, "e1")}, 0, []int{0},
		}, {
			"a larger replacement counts with what it needs beyond", held(8, map[string]int{"e1": 2}), []*agentv1.Enclave{enclave("e1", healthy, true)},
			[]model.Reservation{promise("e1", 2, ""), promise("e2", 4, "e1")}, 4, []int{0, 1, 2, 4},
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			a := newAgent()
			a.host = tc.facts
			for _, e := range tc.enclaves {
				a.enclaves[e.GetId()] = e
			}
			bubble(t, a, func(t *testing.T, f *Fleet, _ *heard) {
				for _, p := range tc.promises {
					f.Promise(p)
				}
				h := f.Plan()[0][0]
				if h.Free.GPUs != tc.free {
					t.Errorf("%d GPUs are free, want %d", h.Free.GPUs, tc.free)
				}
				if len(h.Offers) != len(tc.offers) {
					t.Errorf("offers %v, want %v", h.Offers, tc.offers)
				}
				for _, p := range tc.promises {
					f.Unpromise(p)
				}
				if len(f.promises) != 0 {
					t.Errorf("promises %v are left", f.promises)
				}
			})
		})
	}
}

func TestAwaitFreeWaitsForTheProof(t *testing.T) {
	a := newAgent()
	a.host = held(8, map[string]int{"e1": 8})
	a.enclaves["e1"] = enclave("e1", healthy, true)
	bubble(t, a, func(t *testing.T, f *Fleet, _ *heard) {
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			done <- f.AwaitFree(ctx, "h1", "e2", []string{"e1"}, model.Room{GPUs: 8, CPUs: 4, MemoryMiB: 1024})
		}()
		waits := func(why string) {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-done:
				t.Fatalf("returned (%v) although %s", err, why)
			default:
			}
		}
		waits("it runs")
		a.say(enclave("e1", stopped, true))
		waits("its claim stands")
		a.say(enclave("e1", stopped, false))
		waits("a GPU still names it")
		h := held(8, map[string]int{"e9": 1})
		a.sayFacts(h)
		waits("another holds a GPU")
		a.sayFacts(facts(8))
		synctest.Wait()
		if err := <-done; err != nil {
			t.Errorf("await free: %v", err)
		}
	})
}

func TestAwaitFreeDoesNotBelieveOldFacts(t *testing.T) {
	a := newAgent()
	bubble(t, a, func(t *testing.T, f *Fleet, _ *heard) {
		a.down()
		synctest.Wait()
		if s, text := status(t, f); s != Unreachable || text == "" {
			t.Errorf("host is %s (%q), want UNREACHABLE with why", s, text)
		}
		if down := f.Plan()[0][0].Down; !strings.Contains(down, "unreachable") {
			t.Errorf("the planner is told %q", down)
		}
		// While we were away the GPUs went to another enclave; the enclaves are told
		// before the facts.
		a.mu.Lock()
		a.host, a.holdFacts = held(8, map[string]int{"e9": 8}), make(chan struct{})
		a.mu.Unlock()
		a.serve()
		time.Sleep(time.Minute)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.AwaitFree(ctx, "h1", "e2", nil, model.Room{GPUs: 8}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("await free by facts from before the host was away: %v, want a deadline", err)
		}
		if s, _ := status(t, f); s == Ready {
			t.Error("the host is READY by facts from before it was away")
		}
		close(a.holdFacts)
		synctest.Wait()
		if s, _ := status(t, f); s != Ready {
			t.Errorf("host is %s once it has told all, want READY", s)
		}
	})
}

func TestAHostThatRefusesUsSaysWhy(t *testing.T) {
	for _, reason := range []string{"STALE_EPOCH", "FOREIGN_CLUSTER"} {
		a := newAgent()
		a.refuse = rpc.Error(codes.FailedPrecondition, reason, "another coordinator leads")
		bubble(t, a, func(t *testing.T, f *Fleet, _ *heard) {
			if s, text := status(t, f); s != Refused || !strings.Contains(text, "another coordinator") {
				t.Errorf("host is %s (%q), want REFUSED with why", s, text)
			}
			if f.Plan()[0][0].Down == "" {
				t.Error("the planner may place on a host that refuses us")
			}
			a.mu.Lock()
			a.refuse = nil
			a.mu.Unlock()
			time.Sleep(time.Minute)
			synctest.Wait()
			if s, _ := status(t, f); s != Ready {
				t.Errorf("host is %s after it has given in, want READY", s)
			}
		})
	}
}

func TestReconnectTellsAllAgain(t *testing.T) {
	a := newAgent()
	a.enclaves["e1"] = enclave("e1", healthy, true)
	bubble(t, a, func(t *testing.T, f *Fleet, h *heard) {
		f.Promise(promise("e1", 1, ""))
		h.take()
		a.down()
		synctest.Wait()
		if _, known := f.Observe("h1", "e1"); known {
			t.Error("an enclave is known although its host is away")
		}
		if got := h.take(); len(got) != 0 {
			t.Errorf("heard %+v of a host that is away", got)
		}
		delete(a.enclaves, "e1")
		a.serve()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := h.take(); len(got) != 1 || got[0].State != model.EnclaveAbsent {
			t.Errorf("heard %+v, want that e1 is absent now", got)
		}
	})
}

func TestStopTakesTheWordOfTheRightEnclave(t *testing.T) {
	a := newAgent()
	bubble(t, a, func(t *testing.T, f *Fleet, _ *heard) {
		o, err := f.Stop(t.Context(), "h1", "e1", time.Minute, "why")
		if err != nil || !o.Stopped() || o.Host != "h1" {
			t.Errorf("stop: %+v, %v", o, err)
		}
		if _, err := f.Stop(t.Context(), "h1", "swapped", time.Minute, "why"); err == nil {
			t.Error("an answer about another enclave was taken")
		}
		if _, err := f.Stop(t.Context(), "h2", "e1", time.Minute, "why"); !errors.Is(err, ErrUnknownHost) {
			t.Errorf("unknown host: %v", err)
		}
		if err := f.Create(t.Context(), "h1", "e1", &agentv1.EnclaveSpec{}); err != nil {
			t.Errorf("create: %v", err)
		}
	})
}

func TestRemoveEndsTheSession(t *testing.T) {
	a := newAgent()
	bubble(t, a, func(t *testing.T, f *Fleet, _ *heard) {
		before, changed := f.Changed()
		if err := f.Remove("h1"); err != nil {
			t.Fatal(err)
		}
		<-changed
		if after, _ := f.Changed(); after <= before {
			t.Errorf("version %d after %d", after, before)
		}
		if _, err := f.View("h1"); !errors.Is(err, ErrUnknownHost) {
			t.Errorf("view: %v, want unknown", err)
		}
		if err := f.Remove("h1"); err != nil {
			t.Errorf("removing again: %v", err)
		}
	})
}

func TestWhichErrorsAreFinal(t *testing.T) {
	for _, tc := range []struct {
		err    error
		reason string
		noRoom bool
	}{
		{rpc.Error(codes.ResourceExhausted, "NO_CAPACITY", "x"), "NO_CAPACITY", true},
		{rpc.Error(codes.FailedPrecondition, "IMAGE_MISSING", "x"), "IMAGE_MISSING", false},
		{rpc.Error(codes.InvalidArgument, "", "x"), "AGENT_REFUSED", false},
		{rpc.Error(codes.Unavailable, "STARTING", "x"), "", false},
		{rpc.Error(codes.DeadlineExceeded, "", "x"), "", false},
		{rpc.Error(codes.Internal, "", "x"), "", false},
		{context.Canceled, "", false},
		{ErrUnknownHost, "", false},
	} {
		f := Permanent(tc.err)
		switch {
		case f == nil && tc.reason != "", f != nil && (f.Reason != tc.reason || f.NoRoom != tc.noRoom):
			t.Errorf("%v is %+v, want %q (no room: %v)", tc.err, f, tc.reason, tc.noRoom)
		}
	}
}
