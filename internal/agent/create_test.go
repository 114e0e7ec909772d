package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/atomicfile"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

func TestCreateIsIdempotentByIDAndSpec(t *testing.T) {
	h := newHarness(t)
	first := h.mustCreate("a", newSpec(1))
	h.await("a", in(stateHealthy))
	if again := h.mustCreate("a", newSpec(1)); again.GetGpus()[0] != first.GetGpus()[0] || again.GetState() != stateHealthy {
		t.Errorf("the second call gives %v", again)
	}
	_, err := h.create("a", newSpec(0))
	if rpc.Code(err) != codes.AlreadyExists || rpc.Reason(err) != "SPEC_DIFFERS" {
		t.Errorf("another spec gives %v", err)
	}
	if _, err := h.stopEnclave("a"); err != nil {
		t.Fatal(err)
	}
	h.await("a", goneAs(stateStopped, ""))
	if again := h.mustCreate("a", newSpec(1)); again.GetState() != stateStopped {
		t.Errorf("an id lives twice: %v", again)
	}
	if h.backend.running() != nil {
		t.Errorf("%v run", h.backend.running())
	}
}

func TestTheClaimIsOnDiskBeforeHardwareIsTouched(t *testing.T) {
	b := newBackend()
	cfg := newConfig(t, b)
	var mu sync.Mutex
	var seen, record string
	b.onStart = func(enclave.Instance) {
		text, _ := os.ReadFile(filepath.Join(cfg.StateDir, ledgerDir, "ledger.json"))
		rec, _ := os.ReadFile(filepath.Join(cfg.StateDir, enclavesDir, "a.json"))
		mu.Lock()
		defer mu.Unlock()
		seen, record = string(text), string(rec)
	}
	h := &harness{t: t, backend: b, cfg: cfg}
	h.start()
	h.adopted()
	e := h.mustCreate("a", newSpec(1))
	h.await("a", in(stateHealthy))
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(seen, e.GetGpus()[0]) || !strings.Contains(record, `"id":"a"`) {
		t.Errorf("when the VM started the ledger was %q, the record %q", seen, record)
	}
}

func TestConcurrentCallersNeverGetOneCardTwice(t *testing.T) {
	h := newHarness(t)
	var mu sync.Mutex
	holders, refused := map[string]string{}, 0
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			id := fmt.Sprintf("e%d", i)
			e, err := h.create(id, newSpec(1))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if rpc.Code(err) != codes.ResourceExhausted || rpc.Reason(err) != "NO_CAPACITY" {
					t.Errorf("%s: %v", id, err)
				}
				refused++
				return
			}
			for _, g := range e.GetGpus() {
				if other := holders[g]; other != "" {
					t.Errorf("%s and %s both hold %s", other, id, g)
				}
				holders[g] = id
			}
		})
	}
	wg.Wait()
	if len(holders) != 8 || refused != 16 {
		t.Errorf("%d cards were given and %d callers refused; expected 8 and 16", len(holders), refused)
	}
}

func TestConcurrentCallersOfOneIDMakeOneEnclave(t *testing.T) {
	h := newHarness(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := h.create("a", newSpec(1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	h.await("a", in(stateHealthy))
	if f := h.host(); f.GetFreeGpus() != 7 {
		t.Errorf("%d GPUs are free", f.GetFreeGpus())
	}
}

func TestWhatIsLackingIsNamed(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Capacity.CPUs = 1 })
	h.mustCreate("a", newSpec(0))
	_, err := h.create("b", newSpec(0))
	if rpc.Code(err) != codes.ResourceExhausted || rpc.Reason(err) != "NO_CAPACITY" || !strings.Contains(err.Error(), "1 CPUs and 512 MiB wanted, 0 CPUs") {
		t.Errorf("the second gives %v", err)
	}
	_, err = h.enclaves().CreateEnclave(t.Context(), &agentv1.CreateEnclaveRequest{Fence: at("c1", 1), Id: "c", Spec: newSpec(0), ValidateOnly: true})
	if rpc.Reason(err) != "NO_CAPACITY" {
		t.Errorf("validate_only gives %v", err)
	}
}

func TestValidateOnlyChangesNothing(t *testing.T) {
	h := newHarness(t)
	resp, err := h.enclaves().CreateEnclave(t.Context(), &agentv1.CreateEnclaveRequest{Fence: at("c1", 1), Id: "a", Spec: newSpec(8), ValidateOnly: true})
	if err != nil || resp.GetEnclave().GetId() != "a" {
		t.Errorf("it gives %v, %v", resp, err)
	}
	if e := h.get("a"); e.GetReason() != ReasonNotFound {
		t.Errorf("it left %v", e)
	}
}

// fullDisk can't make files while full.
type fullDisk struct {
	atomicfile.OS
	mu   sync.Mutex
	full bool
}

func (d *fullDisk) CreateTemp(dir, pattern string) (atomicfile.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return nil, errors.New("no space left on device")
	}
	return d.OS.CreateTemp(dir, pattern)
}

func (d *fullDisk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func TestAFullDiskRefusesWhatItCantRecord(t *testing.T) {
	disk := &fullDisk{}
	h := newHarness(t, func(c *Config) { c.Disk = disk })
	h.mustCreate("old", newSpec(1))
	h.await("old", in(stateHealthy))
	disk.fill(true)
	if _, err := h.create("a", newSpec(1)); rpc.Code(err) != codes.Unavailable || rpc.Reason(err) != "STATE_UNWRITTEN" {
		t.Errorf("create gives %v", err)
	}
	if _, err := h.stopEnclave("unknown"); rpc.Reason(err) != "STATE_UNWRITTEN" {
		t.Errorf("a stop that can't be remembered gives %v", err)
	}
	if _, err := h.stopEnclave("old"); rpc.Reason(err) != "STATE_UNWRITTEN" {
		t.Errorf("a stop that can't be recorded gives %v", err)
	}
	eventually(t, "the claim of the refused enclave is released", func() bool { return h.host().GetFreeGpus() == 7 })
	disk.fill(false)
	h.mustCreate("a", newSpec(1))
	h.await("a", in(stateHealthy))
}

func TestPrepareIsJoinedAndItsFailureHasAReason(t *testing.T) {
	h := newHarness(t)
	release := make(chan struct{})
	h.backend.onPrepare = func(ctx context.Context) {
		select {
		case <-release:
		case <-ctx.Done():
		}
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := h.enclaves().PrepareEnclave(t.Context(), &agentv1.PrepareEnclaveRequest{Fence: at("c1", 1), Id: "a", Spec: newSpec(0)}); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the work began", func() bool {
		h.agent.prepares.mu.Lock()
		defer h.agent.prepares.mu.Unlock()
		return len(h.agent.prepares.flights) == 1
	})
	close(release)
	wg.Wait()
	if h.backend.prepared > 5 || h.backend.prepared == 0 {
		t.Errorf("prepared %d times", h.backend.prepared)
	}
	h.backend.mu.Lock()
	h.backend.prepareErr = &enclave.Error{Reason: enclave.ReasonImageMissing, Text: "image x is missing"}
	h.backend.mu.Unlock()
	_, err := h.enclaves().PrepareEnclave(t.Context(), &agentv1.PrepareEnclaveRequest{Fence: at("c1", 1), Id: "a", Spec: newSpec(0)})
	if rpc.Code(err) != codes.FailedPrecondition || rpc.Reason(err) != "IMAGE_MISSING" {
		t.Errorf("a missing image gives %v", err)
	}
	h.mustCreate("a", newSpec(1))
	h.await("a", goneAs(stateFailed, "IMAGE_MISSING"))
}

func TestEvidenceIsAskedForAgainAndARefusalIsACondition(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Times.Reattest = 20 * time.Millisecond })
	h.mustCreate("a-r1-1", newSpec(0))
	first := h.await("a-r1-1", in(stateHealthy))
	h.await("a-r1-1", func(e *agentv1.Enclave) bool {
		return e.GetVerdict().GetTime().AsTime().After(first.GetVerdict().GetTime().AsTime())
	})
	guest := h.backend.guest("a-r1-1")
	forge := func(f func(*evidence.Document)) {
		guest.mu.Lock()
		defer guest.mu.Unlock()
		guest.forge = f
	}
	forge(func(d *evidence.Document) { d.Nonce[0] ^= 1 })
	refused := h.await("a-r1-1", func(e *agentv1.Enclave) bool { return hasCondition(e.GetConditions(), CodeAttestationFailed) })
	if refused.GetState() != stateHealthy || refused.GetVerdict().GetAccepted() {
		t.Errorf("the enclave is %s, verdict accepted %t; expected it to go on with the refusal told", refused.GetState(), refused.GetVerdict().GetAccepted())
	}
	forge(nil)
	h.await("a-r1-1", func(e *agentv1.Enclave) bool {
		return e.GetVerdict().GetAccepted() && !hasCondition(e.GetConditions(), CodeAttestationFailed)
	})
}
