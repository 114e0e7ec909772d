package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

func TestStoppedBeforeItWasCreated(t *testing.T) {
	h := newHarness(t)
	e, err := h.stopEnclave("a")
	if err != nil || e.GetState() != stateStopped || e.GetClaimed() {
		t.Fatalf("stopping an unknown enclave gives %v, %v", e, err)
	}
	h.restart()
	_, err = h.create("a", newSpec(1))
	if rpc.Code(err) != codes.FailedPrecondition || rpc.Reason(err) != "STOPPED" {
		t.Errorf("a late CreateEnclave gives %v", err)
	}
	if _, err := h.stopEnclave("a"); err != nil {
		t.Errorf("stopping it again gives %v", err)
	}
}

func TestStopAndCreateAtOnceLeaveNothingRunning(t *testing.T) {
	h := newHarness(t)
	var wg sync.WaitGroup
	for i := range 20 {
		id := fmt.Sprintf("e%d", i)
		wg.Go(func() {
			if _, err := h.create(id, newSpec(0)); err != nil && rpc.Reason(err) != "STOPPED" {
				t.Errorf("create %s: %v", id, err)
			}
		})
		wg.Go(func() {
			if _, err := h.stopEnclave(id); err != nil {
				t.Errorf("stop %s: %v", id, err)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		h.await(fmt.Sprintf("e%d", i), func(e *agentv1.Enclave) bool { return e.GetState() == stateStopped && !e.GetClaimed() })
	}
	if left := h.backend.running(); len(left) > 0 {
		t.Errorf("%v run", left)
	}
	if f := h.host(); f.GetCpus().GetFree() != f.GetCpus().GetTotal() {
		t.Errorf("%d of %d CPUs are free", f.GetCpus().GetFree(), f.GetCpus().GetTotal())
	}
}

func TestTheClaimIsHeldUntilTheEnclaveIsProvedGone(t *testing.T) {
	h := newHarness(t)
	release := make(chan struct{})
	h.backend.onStop = func(ctx context.Context, _ string) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.mustCreate("a", newSpec(1))
	h.await("a", in(stateHealthy))
	e, err := h.stopEnclave("a")
	if err != nil || e.GetState() != stateStopping || !e.GetClaimed() {
		t.Errorf("StopEnclave returns %v, %v", e, err)
	}
	if err := h.delete("a"); rpc.Reason(err) != "NOT_ENDED" {
		t.Errorf("deleting it gives %v", err)
	}
	if f := h.host(); f.GetFreeGpus() != 7 {
		t.Errorf("%d GPUs are free while it stops", f.GetFreeGpus())
	}
	close(release)
	h.await("a", goneAs(stateStopped, ""))
	eventually(t, "the GPU is free", func() bool { return h.host().GetFreeGpus() == 8 })
	for range 2 {
		if err := h.delete("a"); err != nil {
			t.Errorf("deleting it gives %v", err)
		}
	}
}

func TestAStopThatFailsIsTriedAgainAndTold(t *testing.T) {
	h := newHarness(t)
	var mu sync.Mutex
	broken := true
	h.backend.onStop = func(context.Context, string) error {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			return errors.New("the kill does not work")
		}
		return nil
	}
	h.mustCreate("a", newSpec(1))
	h.await("a", in(stateHealthy))
	if _, err := h.stopEnclave("a"); err != nil {
		t.Fatal(err)
	}
	e := h.await("a", func(e *agentv1.Enclave) bool { return hasCondition(e.GetConditions(), CodeStopStuck) })
	if e.GetState() != stateStopping || !e.GetClaimed() {
		t.Errorf("it is %s, claimed %t", e.GetState(), e.GetClaimed())
	}
	mu.Lock()
	broken = false
	mu.Unlock()
	h.await("a", goneAs(stateStopped, ""))
}

func TestStopWhilePreparingBootsNothing(t *testing.T) {
	h := newHarness(t)
	h.backend.onPrepare = func(ctx context.Context) { <-ctx.Done() }
	h.mustCreate("a", newSpec(1))
	h.await("a", in(statePreparing))
	if _, err := h.stopEnclave("a"); err != nil {
		t.Fatal(err)
	}
	h.await("a", goneAs(stateStopped, ""))
	if _, err := h.backend.Get(t.Context(), "a"); err == nil {
		t.Error("it was started")
	}
}

func TestAShorterGraceCutsALongerOneShort(t *testing.T) {
	h := newHarness(t)
	var mu sync.Mutex
	calls := 0
	h.backend.onStop = func(ctx context.Context, _ string) error {
		mu.Lock()
		calls++
		first := calls == 1
		mu.Unlock()
		if first {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	h.mustCreate("a", newSpec(0))
	h.await("a", in(stateHealthy))
	if _, err := h.stopEnclave("a"); err != nil { // a minute
		t.Fatal(err)
	}
	eventually(t, "the stop began", func() bool { mu.Lock(); defer mu.Unlock(); return calls == 1 })
	_, err := h.enclaves().StopEnclave(t.Context(), &agentv1.StopEnclaveRequest{Fence: at("c1", 1), Id: "a", Grace: durationOf(time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	h.await("a", goneAs(stateStopped, ""))
}

func TestOnlyEndedEnclavesAreDeleted(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(0))
	h.await("a", in(stateHealthy))
	if err := h.delete("a"); rpc.Code(err) != codes.FailedPrecondition || rpc.Reason(err) != "NOT_ENDED" {
		t.Errorf("deleting a running one gives %v", err)
	}
	if err := h.delete("unknown"); err != nil {
		t.Errorf("deleting an unknown one gives %v", err)
	}
	h.backend.exit("a", "DIED")
	h.await("a", goneAs(stateFailed, "VM_EXITED"))
	if err := h.delete("a"); err != nil {
		t.Errorf("deleting a failed one gives %v", err)
	}
	h.restart()
	if e := h.get("a"); e.GetReason() != ReasonNotFound {
		t.Errorf("after a restart the deleted one is %v", e)
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	h := newHarness(t, func(c *Config) { c.Now = clock })
	for i := range maxRecords {
		h.agent.board.publish(&agentv1.Enclave{Id: fmt.Sprintf("t%05d", i), ClusterId: "c1", State: stateStopped, CreateTime: timeOf(now)})
	}
	if _, err := h.stopEnclave("one-more"); rpc.Code(err) != codes.ResourceExhausted || rpc.Reason(err) != "TOO_MANY_RECORDS" {
		t.Errorf("one more young tombstone gives %v", err)
	}
	mu.Lock()
	now = now.Add(tombstoneAge + time.Minute)
	mu.Unlock()
	if _, err := h.stopEnclave("one-more"); err != nil {
		t.Errorf("a day later it gives %v", err)
	}
	if n := h.agent.board.len(); n != maxRecords {
		t.Errorf("%d records are kept", n)
	}
}

func TestAnAgentThatFollowsNobodyAnyMorePromisesNoStop(t *testing.T) {
	h := newHarness(t)
	if _, err := h.create("a", newSpec(1)); err != nil {
		t.Fatal(err)
	}
	h.await("a", in(stateHealthy))
	h.agent.mu.Lock()
	m := h.agent.monitors["a"]
	delete(h.agent.monitors, "a") // as while it stops
	h.agent.mu.Unlock()
	if e, err := h.stopEnclave("a"); rpc.Code(err) != codes.Unavailable || rpc.Reason(err) != "STOPPING" {
		t.Errorf("stop gives %v, %v, and nothing would be stopped", e.GetState(), err)
	}
	h.agent.mu.Lock()
	h.agent.monitors["a"] = m
	h.agent.mu.Unlock()
	if _, err := h.stopEnclave("a"); err != nil {
		t.Fatal(err)
	}
	h.await("a", in(stateStopped))
}
