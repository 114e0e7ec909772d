package agent

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

func durationOf(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

func timeOf(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// stage sets a stage of a guest.
func stage(name string, status guestapi.Status, reason string, ready bool) func(*guestapi.BootStatus) {
	return func(b *guestapi.BootStatus) {
		b.Ready = ready
		for i := range b.Stages {
			if b.Stages[i].Name == name {
				b.Stages[i].Status, b.Stages[i].Reason = status, reason
			}
		}
	}
}

func TestHealthComesAndGoes(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(0))
	h.await("a", in(stateHealthy))
	h.backend.guest("a").set(stage(guestapi.StageHealth, guestapi.StatusFailed, "container app is unhealthy", false))
	e := h.await("a", in(stateUnhealthy))
	if e.GetReason() != "HEALTH_CHECK_FAILED" || !strings.Contains(e.GetText(), "container app") {
		t.Errorf("reason %s, %q", e.GetReason(), e.GetText())
	}
	h.backend.guest("a").set(stage(guestapi.StageHealth, guestapi.StatusOK, "", true))
	h.await("a", in(stateHealthy))
}

func TestAGuestThatFallsSilentIsUnhealthyAndTold(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Times.Call, c.Times.Silent = 200*time.Millisecond, 150*time.Millisecond })
	h.mustCreate("a", newSpec(0))
	h.await("a", in(stateHealthy))
	h.backend.guest("a").hang(true)
	e := h.await("a", in(stateUnhealthy))
	if e.GetReason() != CodeGuestSilent || !hasCondition(e.GetConditions(), CodeGuestSilent) {
		t.Errorf("reason %s, conditions %v", e.GetReason(), e.GetConditions())
	}
	if left := h.backend.running(); len(left) != 1 {
		t.Errorf("a silent guest is stopped: %v run", left)
	}
	h.backend.guest("a").hang(false)
	h.await("a", in(stateHealthy))
	h.await("a", func(e *agentv1.Enclave) bool { return !hasCondition(e.GetConditions(), CodeGuestSilent) })
}

func TestASilentGuestThatNeverCameUpFailsInTime(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Times.Boot = 300 * time.Millisecond })
	h.backend.onStart = nil
	h.cfg.Dial = nil
	h.restart(func(c *Config) {
		c.Dial = func(endpoint string) (Guest, error) {
			g, err := h.backend.dial(endpoint)
			if err == nil {
				g.(*guest).hang(true)
			}
			return g, err
		}
	})
	h.mustCreate("a", newSpec(1))
	e := h.await("a", goneAs(stateFailed, "BOOT_TIMEOUT"))
	if !strings.Contains(e.GetText(), "300ms") {
		t.Errorf("it says %q", e.GetText())
	}
}

func TestFailuresInsideTheGuestEndTheEnclaveWithTheirReason(t *testing.T) {
	for name, c := range map[string]struct{ stage, text, want string }{
		"a code of its own":       {guestapi.StageImages, "IMAGE_MISSING: app can't be pulled", "IMAGE_MISSING"},
		"a stage without a code":  {guestapi.StageContainers, "app ended", "CONTAINERS_FAILED"},
		"a text that is no code":  {guestapi.StageGPU, "GPU is sick", "GPU_FAILED"},
		"a stage before evidence": {guestapi.StageConfig, "the digest differs", "CONFIG_FAILED"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.mustCreate("a", newSpec(1))
			h.await("a", in(stateHealthy))
			h.backend.guest("a").set(stage(c.stage, guestapi.StatusFailed, c.text, false))
			e := h.await("a", goneAs(stateFailed, c.want))
			if !strings.Contains(e.GetText(), c.text) {
				t.Errorf("it says %q", e.GetText())
			}
			if left := h.backend.running(); len(left) > 0 {
				t.Errorf("%v run", left)
			}
		})
	}
}

func TestRefusedEvidenceNamesTheChecks(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		dial := c.Dial
		c.Dial = func(endpoint string) (Guest, error) {
			g, err := dial(endpoint)
			if err == nil {
				g.(*guest).mu.Lock()
				g.(*guest).forge = func(d *evidence.Document) { d.ConfigDigest[0] ^= 1 }
				g.(*guest).mu.Unlock()
			}
			return g, err
		}
	})
	h.mustCreate("a", newSpec(1))
	e := h.await("a", goneAs(stateFailed, "ATTESTATION_REFUSED"))
	if !strings.Contains(e.GetText(), "config_binding") || e.GetVerdict().GetAccepted() {
		t.Errorf("it says %q, verdict accepted %t", e.GetText(), e.GetVerdict().GetAccepted())
	}
}

func TestAnEnclaveIsHealthyOnlyAfterItsEvidence(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		dial := c.Dial
		c.Dial = func(endpoint string) (Guest, error) {
			g, err := dial(endpoint)
			if err == nil {
				g.(*guest).set(stage(guestapi.StageEvidence, guestapi.StatusRunning, "", true))
			}
			return g, err
		}
	})
	h.mustCreate("a", newSpec(0))
	h.await("a", in(agentv1.EnclaveState_ENCLAVE_STATE_ATTESTING))
	time.Sleep(100 * time.Millisecond) // ready all the while
	if e := h.get("a"); e.GetState() != agentv1.EnclaveState_ENCLAVE_STATE_ATTESTING {
		t.Errorf("a guest that says it is ready is %s before its evidence", e.GetState())
	}
	h.backend.guest("a").set(stage(guestapi.StageEvidence, guestapi.StatusOK, "", true))
	h.await("a", in(stateHealthy))
}

func TestAVMThatIsGoneFromTheHost(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(1))
	h.await("a", in(stateHealthy))
	h.backend.mu.Lock()
	delete(h.backend.vms, "a")
	h.backend.mu.Unlock()
	h.await("a", goneAs(stateFailed, "VM_VANISHED"))
}

func TestAStartThatFailsLeavesNothing(t *testing.T) {
	h := newHarness(t)
	h.backend.startErr = &enclave.Error{Reason: enclave.ReasonStartFailed, Text: "no qemu"}
	h.mustCreate("a", newSpec(1))
	h.await("a", goneAs(stateFailed, "START_FAILED"))
	if f := h.host(); f.GetFreeGpus() != 8 {
		t.Errorf("%d GPUs are free", f.GetFreeGpus())
	}
}

func TestEvidenceIsBoundInHowOftenItIsAskedFor(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(0))
	h.await("a", in(stateHealthy))
	ask := func() error {
		_, err := h.enclaves().GetEvidence(t.Context(), &agentv1.GetEvidenceRequest{Id: "a", Nonce: make([]byte, 32)})
		return err
	}
	now := time.Now()
	h.agent.buckets.mu.Lock()
	h.agent.buckets.now = func() time.Time { return now }
	h.agent.buckets.mu.Unlock()
	for range evidenceBurst {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(); rpc.Reason(err) != "TOO_OFTEN" {
		t.Errorf("more than a burst gives %v", err)
	}
}
