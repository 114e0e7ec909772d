package agent

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

func TestAWatchTellsWhatIsThereThenWhatChanges(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(0))
	h.await("a", in(stateHealthy))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := h.enclaves().WatchEnclaves(ctx, &agentv1.WatchEnclavesRequest{Fence: at("c1", 1)})
	if err != nil {
		t.Fatal(err)
	}
	next := func() *agentv1.WatchEnclavesResponse {
		t.Helper()
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := next(); m.GetChanged().GetId() != "a" {
		t.Errorf("first comes %v, not what is there", m)
	}
	if m := next(); m.GetSynced() == nil {
		t.Errorf("then comes %v, not synced", m)
	}
	h.mustCreate("b", newSpec(0))
	last := int64(0)
	for state := statePreparing; state != stateHealthy; {
		e := next().GetChanged()
		if e.GetId() != "b" {
			continue
		}
		if e.GetGeneration() <= last {
			t.Errorf("generation %d follows %d", e.GetGeneration(), last)
		}
		last, state = e.GetGeneration(), e.GetState()
	}
	if _, err := h.stopEnclave("b"); err != nil {
		t.Fatal(err)
	}
	for e := next().GetChanged(); e.GetState() != stateStopped || e.GetClaimed(); {
		e = next().GetChanged()
	}
	if err := h.delete("b"); err != nil {
		t.Fatal(err)
	}
	for m := next(); m.GetDeletedId() != "b"; m = next() {
		if m.GetChanged() == nil {
			t.Fatalf("%v comes before the deletion", m)
		}
	}
}

func TestAWatchOfOneEnclaveTellsOfNoOther(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(0))
	h.await("a", in(stateHealthy))
	stream, err := h.enclaves().WatchEnclaves(t.Context(), &agentv1.WatchEnclavesRequest{Id: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetSynced() == nil {
		t.Errorf("first comes %v, %v", m, err)
	}
	h.mustCreate("b", newSpec(0))
	if m, err := stream.Recv(); err != nil || m.GetChanged().GetId() != "b" {
		t.Errorf("then comes %v, %v", m, err)
	}
}

func TestASlowReaderIsClosedAndTheOthersAreNot(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Times.Reader = 200 * time.Millisecond })
	slow, err := h.enclaves().WatchEnclaves(t.Context(), &agentv1.WatchEnclavesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Recv(); err != nil {
		t.Fatal(err)
	}
	published := 0
	eventually(t, "the reader that reads nothing is given up", func() bool {
		for range 400 { // more and more, until the connection buffers no more of it
			published++
			h.agent.board.publish(&agentv1.Enclave{Id: fmt.Sprintf("e%d", published), Spec: &agentv1.EnclaveSpec{Config: make([]byte, 4096)}})
		}
		h.agent.board.mu.Lock()
		defer h.agent.board.mu.Unlock()
		return len(h.agent.board.watches) == 0
	})
	seen := 0
	for {
		if _, err = slow.Recv(); err != nil {
			break
		}
		seen++
	}
	if rpc.Code(err) != codes.Aborted || rpc.Reason(err) != "SLOW_READER" {
		t.Errorf("after %d messages the slow reader gets %v", seen, err)
	}
	if resp, err := h.enclaves().ListEnclaves(t.Context(), &agentv1.ListEnclavesRequest{PageSize: 1000}); err != nil || len(resp.GetEnclaves()) < 100 {
		t.Errorf("others get %d enclaves, %v", len(resp.GetEnclaves()), err)
	}
}

func TestPagesHoldEveryEnclaveOnce(t *testing.T) {
	h := newHarness(t)
	for i := range 25 {
		h.agent.board.publish(&agentv1.Enclave{Id: fmt.Sprintf("e%02d", i)})
	}
	var ids []string
	for token := ""; ; {
		resp, err := h.enclaves().ListEnclaves(t.Context(), &agentv1.ListEnclavesRequest{PageSize: 10, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range resp.GetEnclaves() {
			ids = append(ids, e.GetId())
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(ids) != 25 || ids[0] != "e00" || ids[24] != "e24" {
		t.Errorf("the pages hold %v", ids)
	}
	if _, err := h.enclaves().ListEnclaves(t.Context(), &agentv1.ListEnclavesRequest{PageToken: "x"}); rpc.Reason(err) != "BAD_PAGE_TOKEN" {
		t.Errorf("a made-up token gives %v", err)
	}
}

func TestAHostWatchTellsOfEveryClaim(t *testing.T) {
	h := newHarness(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := h.hosts().WatchHost(ctx, &agentv1.WatchHostRequest{Fence: at("c1", 1)})
	if err != nil {
		t.Fatal(err)
	}
	until := func(what string, is func(*agentv1.Host) bool) {
		t.Helper()
		for {
			m, err := stream.Recv()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if is(m.GetHost()) {
				return
			}
		}
	}
	until("eight free GPUs", func(h *agentv1.Host) bool { return h.GetFreeGpus() == 8 && len(h.GetGpuOffers()) == 3 })
	h.mustCreate("a", newSpec(1))
	until("seven free GPUs, and not eight on offer", func(h *agentv1.Host) bool {
		return h.GetFreeGpus() == 7 && len(h.GetGpuOffers()) == 2 && len(h.GetGpuCounts()) == 3
	})
	if _, err := h.stopEnclave("a"); err != nil {
		t.Fatal(err)
	}
	until("eight free GPUs again", func(h *agentv1.Host) bool { return h.GetFreeGpus() == 8 })
}

func TestStoppingTheAgentEndsWatchesAndStopsNoEnclave(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(0))
	h.await("a", in(stateHealthy))
	stream, err := h.enclaves().WatchEnclaves(t.Context(), &agentv1.WatchEnclavesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	h.stop()
	for err == nil {
		_, err = stream.Recv()
	}
	if err == io.EOF {
		t.Error("the watch ends as if all had been told")
	}
	if left := h.backend.running(); len(left) != 1 {
		t.Errorf("%v run after the agent stopped", left)
	}
}

func TestStagesAreTold(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(0))
	e := h.await("a", in(stateHealthy))
	if len(e.GetStages()) != len(guestapi.Stages()) || e.GetStages()[0].GetName() != guestapi.StageConfig {
		t.Errorf("stages are %v", e.GetStages())
	}
}

func TestAWatchOfEnclavesTellsOfTheHostIfAsked(t *testing.T) {
	h := newHarness(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := h.enclaves().WatchEnclaves(ctx, &agentv1.WatchEnclavesRequest{Fence: at("c1", 1), WithHost: true})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetHost().GetFreeGpus() != 8 {
		t.Fatalf("the first word is %v, %v; want the host's facts", first, err)
	}
	h.mustCreate("a", newSpec(1))
	synced, told := false, false
	for facts := first.GetHost(); facts.GetFreeGpus() != 7 || !synced || !told; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("with %d GPUs free, synced %v, enclave told %v: %v", facts.GetFreeGpus(), synced, told, err)
		}
		synced = synced || m.GetSynced() != nil
		told = told || m.GetChanged().GetId() == "a"
		if m.GetHost() != nil {
			facts = m.GetHost()
		}
	}
}
