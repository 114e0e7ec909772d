package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

func TestARestartAdoptsWhatRuns(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(8))
	before := h.await("a", in(stateHealthy))
	h.backend.guest("a").hang(true) // what is told at once comes from the record
	h.restart()
	after := h.get("a")
	if after.GetState() != stateHealthy || !after.GetClaimed() || len(after.GetGpus()) != 8 || after.GetGeneration() <= before.GetGeneration() {
		t.Errorf("after a restart it is %v", after)
	}
	h.backend.guest("a").hang(false)
	h.await("a", func(e *agentv1.Enclave) bool { return e.GetState() == stateHealthy && e.GetVerdict().GetAccepted() })
	if f := h.host(); f.GetFreeGpus() != 0 {
		t.Errorf("%d GPUs are free", f.GetFreeGpus())
	}
}

func TestWhatEndedWhileTheAgentWasAway(t *testing.T) {
	for name, c := range map[string]struct {
		away func(*harness)
		boot string
		want func(*agentv1.Enclave) bool
	}{
		"the VM ended":      {func(h *harness) { h.backend.exit("a", enclave.ReasonDied) }, "boot-1", goneAs(stateFailed, "VM_EXITED")},
		"the VM vanished":   {func(h *harness) { delete(h.backend.vms, "a") }, "boot-1", goneAs(stateFailed, "VM_VANISHED")},
		"the host rebooted": {func(h *harness) { delete(h.backend.vms, "a") }, "boot-2", goneAs(stateFailed, "HOST_REBOOTED")},
		"the host rebooted and the backend kept remains": {func(h *harness) { h.backend.exit("a", enclave.ReasonDied) }, "boot-2", goneAs(stateFailed, "HOST_REBOOTED")},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.mustCreate("a", newSpec(1))
			h.await("a", in(stateHealthy))
			h.stop()
			c.away(h)
			h.restart(func(cfg *Config) { cfg.BootID = c.boot })
			h.await("a", c.want)
			eventually(t, "its GPU is free", func() bool { return h.host().GetFreeGpus() == 8 })
			h.restart()
			h.await("a", c.want)
			if err := h.delete("a"); err != nil {
				t.Error(err)
			}
		})
	}
}

// endedInAStop is an agent that has ended while it stopped an enclave.
func endedInAStop(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	h.mustCreate("a", newSpec(1))
	h.await("a", in(stateHealthy))
	h.backend.onStop = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	if _, err := h.stopEnclave("a"); err != nil {
		t.Fatal(err)
	}
	h.stop()
	return h
}

func TestAStopGoesOnAfterARestart(t *testing.T) {
	h := endedInAStop(t)
	h.backend.onStop = nil
	h.restart()
	h.await("a", goneAs(stateStopped, ""))
}

// TestAClockThatWasSetBackGivesNoStopMoreTime: by what is on disk it would have ten
// years.
func TestAClockThatWasSetBackGivesNoStopMoreTime(t *testing.T) {
	h := endedInAStop(t)
	given := make(chan time.Duration, 1)
	h.backend.onStop = func(ctx context.Context, _ string) error {
		until, _ := ctx.Deadline()
		select {
		case given <- time.Until(until):
		default: // once will do
		}
		return nil
	}
	h.restart(func(c *Config) { c.Now = func() time.Time { return time.Now().AddDate(-10, 0, 0) } })
	select {
	case d := <-given:
		if d > time.Hour {
			t.Errorf("the guest is given %s", d)
		}
	case <-time.After(patience):
		t.Error("the stop does not go on")
	}
}

func TestABootGoesOnAfterARestart(t *testing.T) {
	h := newHarness(t)
	h.backend.onPrepare = func(ctx context.Context) { <-ctx.Done() }
	h.mustCreate("a", newSpec(8))
	h.await("a", in(statePreparing))
	h.stop()
	h.backend.onPrepare = nil
	h.restart()
	h.await("a", in(stateHealthy))
	eventually(t, "every GPU is seen in its new mode", func() bool {
		return !slices.ContainsFunc(h.host().GetGpus(), func(g *agentv1.Gpu) bool { return g.GetMode() != "ppcie" })
	})
}

func TestARunningEnclaveWithoutARecordIsFollowed(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, path string){
		"lost": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.mustCreate("a", newSpec(1))
			h.await("a", in(stateHealthy))
			h.stop()
			lose(t, filepath.Join(h.cfg.StateDir, enclavesDir, "a.json"))
			h.restart()
			e := h.await("a", in(stateHealthy))
			if !e.GetClaimed() || e.GetSpec() == nil {
				t.Errorf("it is %v", e)
			}
			if name == "damaged" && !hasCondition(h.host().GetConditions(), CodeRecordCorrupt) {
				t.Errorf("conditions are %v", h.host().GetConditions())
			}
			if again := h.mustCreate("a", newSpec(1)); again.GetState() != stateHealthy {
				t.Errorf("creating it again gives %v", again)
			}
			if _, err := h.stopEnclave("a"); err != nil {
				t.Fatal(err)
			}
			h.await("a", goneAs(stateStopped, ""))
		})
	}
}

func TestALostLedgerIsRebuiltFromWhatRuns(t *testing.T) {
	h := newHarness(t)
	h.mustCreate("a", newSpec(1))
	h.await("a", in(stateHealthy))
	h.stop()
	if err := os.WriteFile(filepath.Join(h.cfg.StateDir, ledgerDir, "ledger.json"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.restart()
	h.await("a", func(e *agentv1.Enclave) bool { return e.GetState() == stateHealthy && e.GetClaimed() })
	f := h.host()
	if f.GetFreeGpus() != 7 || !hasCondition(f.GetConditions(), "LEDGER_CORRUPT") {
		t.Errorf("%d GPUs are free, conditions %v", f.GetFreeGpus(), f.GetConditions())
	}
}

func TestAnotherClustersEnclaveIsListedAndLeftAlone(t *testing.T) {
	h := newHarness(t)
	if _, err := h.hosts().GetHost(t.Context(), &agentv1.GetHostRequest{Fence: at("c1", 1)}); err != nil {
		t.Fatal(err)
	}
	foreign := changedSpec(newSpec(1), func(s *agentv1.EnclaveSpec) { s.Platform.ClusterId = "c2" })
	h.stop()
	h.backend.run(enclave.Instance{ID: "f", Spec: foreign, GPUs: []string{"0000:17:00.0"}})
	h.backend.guest("f").hang(true)
	h.restart(func(c *Config) { c.Times.Boot = time.Millisecond })
	e := h.await("f", func(e *agentv1.Enclave) bool { return e.GetClusterId() == "c2" })
	if !e.GetClaimed() || e.GetReason() != CodeNoRecord {
		t.Errorf("it is %v", e)
	}
	if _, err := h.stopEnclave("f"); rpc.Code(err) != codes.FailedPrecondition || rpc.Reason(err) != "FOREIGN_CLUSTER" {
		t.Errorf("stopping it gives %v", err)
	}
	if err := h.delete("f"); rpc.Reason(err) != "FOREIGN_CLUSTER" {
		t.Errorf("deleting it gives %v", err)
	}
	f := h.host()
	if f.GetFreeGpus() != 7 || !hasCondition(f.GetConditions(), CodeForeign) {
		t.Errorf("%d GPUs are free, conditions %v", f.GetFreeGpus(), f.GetConditions())
	}
	time.Sleep(200 * time.Millisecond) // past every deadline that would stop one of ours
	if left := h.backend.running(); len(left) != 1 {
		t.Errorf("%v run", left)
	}
	h.backend.exit("f", enclave.ReasonPoweredOff)
	h.await("f", goneAs(stateFailed, "VM_EXITED"))
	eventually(t, "its GPU is free", func() bool { return h.host().GetFreeGpus() == 8 })
}

func TestADamagedEnclaveKeepsItsCards(t *testing.T) {
	h := newHarness(t)
	h.stop()
	h.backend.mu.Lock()
	h.backend.vms["x"] = &vm{obs: enclave.Observed{ID: "x", Phase: enclave.PhaseRunning, GPUs: []string{"0000:17:00.0"},
		Reason: enclave.ReasonCorrupt, Text: "its record is damaged"}}
	h.backend.mu.Unlock()
	h.restart()
	if e := h.get("x"); e.GetReason() != "CORRUPT_RECORD" || e.GetState() != stateUnhealthy {
		t.Errorf("it is told as %v", e)
	}
	f := h.host()
	if f.GetFreeGpus() != 7 || !hasCondition(f.GetConditions(), "GPU_QUARANTINE") {
		t.Errorf("%d GPUs are free, conditions %v", f.GetFreeGpus(), f.GetConditions())
	}
}

// slowInventory has GPUs that are looked at only when it is let.
type slowInventory struct {
	gpu.Inventory
	begun chan struct{}
	let   chan error
}

func (s *slowInventory) Snapshot(ctx context.Context) (gpu.Snapshot, error) {
	select {
	case s.begun <- struct{}{}:
	default:
	}
	select {
	case err := <-s.let:
		if err != nil {
			return gpu.Snapshot{}, err
		}
	case <-ctx.Done():
		return gpu.Snapshot{}, ctx.Err()
	}
	return s.Inventory.Snapshot(ctx)
}

// A host that were ready before it has looked at its GPUs would be taken for a full one.
func TestNothingIsAnsweredBeforeTheGPUsAreLookedAt(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		free uint32
		code string
	}{
		"they are there":     {nil, 8, ""},
		"they can't be read": {errors.New("driver not loaded"), 0, CodeInventoryFailed},
	} {
		t.Run(name, func(t *testing.T) {
			h := &harness{t: t, backend: newBackend()}
			h.cfg = newConfig(t, h.backend)
			slow := &slowInventory{Inventory: h.cfg.Inventory, begun: make(chan struct{}, 1), let: make(chan error)}
			h.cfg.Inventory, h.cfg.SwitchModes = slow, false
			h.start()
			<-slow.begun
			eventually(t, "the ledger was compared", func() bool { return h.host().GetCpus().GetFree() > 0 })
			if _, err := h.create("a", newSpec(0)); rpc.Reason(err) != "STARTING" {
				t.Errorf("create gives %v, want STARTING", err)
			}
			if f := h.host(); !hasCondition(f.GetConditions(), CodeStarting) {
				t.Errorf("conditions are %v, want STARTING", f.GetConditions())
			}
			slow.let <- c.err
			h.adopted()
			told, _ := h.agent.host.get()
			if told.GetFreeGpus() != c.free || hasCondition(told.GetConditions(), CodeStarting) || c.code != "" && !hasCondition(told.GetConditions(), c.code) {
				t.Errorf("it is told of %d free GPUs, with %v; want %d", told.GetFreeGpus(), told.GetConditions(), c.free)
			}
		})
	}
}

func TestAnEnclaveThatAppearsPastTheAgentIsListed(t *testing.T) {
	h := newHarness(t)
	h.backend.run(enclave.Instance{ID: "s", Spec: newSpec(1), GPUs: []string{"0000:17:00.0"}})
	e := h.await("s", in(stateHealthy))
	if !e.GetClaimed() {
		t.Errorf("it is %v", e)
	}
}

func TestNothingIsAnsweredWhileTheBackendIsAway(t *testing.T) {
	h := &harness{t: t, backend: newBackend()}
	h.cfg = newConfig(t, h.backend)
	h.backend.listErr = errors.New("connection refused")
	h.start()
	eventually(t, "the host says why", func() bool { return hasCondition(h.host().GetConditions(), CodeBackendUnavailable) })
	if f := h.host(); f.GetFreeGpus() != 0 || len(f.GetGpuOffers()) != 1 || f.GetCpus().GetFree() != 0 {
		t.Errorf("%d GPUs and %d CPUs are free, offers %v", f.GetFreeGpus(), f.GetCpus().GetFree(), f.GetGpuOffers())
	}
	for name, err := range map[string]error{
		"create": func() error { _, err := h.create("a", newSpec(0)); return err }(),
		"stop":   func() error { _, err := h.stopEnclave("a"); return err }(),
		"delete": h.delete("a"),
		"watch": func() error {
			s, err := h.enclaves().WatchEnclaves(t.Context(), &agentv1.WatchEnclavesRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}(),
		"list": func() error {
			_, err := h.enclaves().ListEnclaves(t.Context(), &agentv1.ListEnclavesRequest{})
			return err
		}(),
		"get": func() error {
			_, err := h.enclaves().GetEnclave(t.Context(), &agentv1.GetEnclaveRequest{Id: "a"})
			return err
		}(),
	} {
		if rpc.Code(err) != codes.Unavailable || rpc.Reason(err) != "STARTING" {
			t.Errorf("%s gives %v", name, err)
		}
	}
	h.backend.mu.Lock()
	h.backend.listErr = nil
	h.backend.mu.Unlock()
	h.adopted()
	eventually(t, "the host is well", func() bool {
		f := h.host()
		return !hasCondition(f.GetConditions(), CodeBackendUnavailable) && !hasCondition(f.GetConditions(), CodeStarting) && f.GetFreeGpus() == 8
	})
}
