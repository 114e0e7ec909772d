package agentd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
)

const (
	healthy   = agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY
	unhealthy = agentv1.EnclaveState_ENCLAVE_STATE_UNHEALTHY
	stopped   = agentv1.EnclaveState_ENCLAVE_STATE_STOPPED
	failed    = agentv1.EnclaveState_ENCLAVE_STATE_FAILED
)

func TestAnEnclaveLivesAndLeavesNothingBehind(t *testing.T) {
	h := newHost(t, "10m")
	e := h.create("a-r1-1", newSpec(1))
	if !e.GetClaimed() || len(e.GetGpus()) != 1 {
		t.Errorf("CreateEnclave returns before the claim: claimed %t, GPUs %v", e.GetClaimed(), e.GetGpus())
	}
	e = h.await("a-r1-1", "healthy", in(healthy))
	if e.GetEndpoint() == "" || !e.GetVerdict().GetAccepted() || !slices.Contains(e.GetVerdict().GetInsecure(), "simulated") {
		t.Errorf("healthy with endpoint %q and verdict %v", e.GetEndpoint(), e.GetVerdict())
	}
	if f := h.facts(); f.GetFreeGpus() != 7 || f.GetCpus().GetFree() != 15 || f.GetClusterId() != "c1" {
		t.Errorf("the host tells %d free GPUs, %d CPUs, cluster %q", f.GetFreeGpus(), f.GetCpus().GetFree(), f.GetClusterId())
	}
	h.stop("a-r1-1")
	h.await("a-r1-1", "stopped", func(e *agentv1.Enclave) bool { return gone(e) && e.GetState() == stopped })
	if n := len(processes(guestPath)); n != 0 {
		t.Errorf("%d guests run after STOPPED was told", n)
	}
	if f := h.facts(); f.GetFreeGpus() != 8 || !slices.Equal(f.GetGpuOffers(), []uint32{0, 1, 8}) {
		t.Errorf("afterwards %d GPUs are free, offers %v", f.GetFreeGpus(), f.GetGpuOffers())
	}
	if _, err := h.enclaves().DeleteEnclave(t.Context(), &agentv1.DeleteEnclaveRequest{Fence: fenceAt(1), Id: "a-r1-1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.enclaves().GetEnclave(t.Context(), &agentv1.GetEnclaveRequest{Id: "a-r1-1"}); rpc.Code(err) != codes.NotFound {
		t.Errorf("a deleted enclave gives %v", err)
	}
}

func TestEightGPUsNeedAnotherModeAndGetIt(t *testing.T) {
	h := newHost(t, "10m")
	e := h.create("big", newSpec(8))
	if len(e.GetGpus()) != 8 {
		t.Fatalf("it holds %v", e.GetGpus())
	}
	h.await("big", "healthy", in(healthy))
	h.eventually("every GPU is seen in its new mode", func(context.Context) error {
		for _, g := range h.facts().GetGpus() {
			if g.GetMode() != "ppcie" || g.GetEnclaveId() != "big" {
				return fmt.Errorf("GPU %s is in mode %s, held by %q", g.GetBdf(), g.GetMode(), g.GetEnclaveId())
			}
		}
		return nil
	})
	_, err := h.enclaves().CreateEnclave(t.Context(), &agentv1.CreateEnclaveRequest{Fence: fenceAt(1), Id: "more", Spec: newSpec(1)})
	if rpc.Code(err) != codes.ResourceExhausted || rpc.Reason(err) != "NO_CAPACITY" {
		t.Errorf("a ninth GPU gives %v", err)
	}
	h.stop("big")
	h.await("big", "gone", gone)
	h.create("small", newSpec(1))
	h.await("small", "healthy after the mode was switched back", in(healthy))
	h.stop("small")
	h.await("small", "gone", gone)
}

func TestARestartStopsNothingAndTellsTheSame(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "10m")
			for _, id := range []string{"a", "b", "c"} {
				h.create(id, newSpec(1))
			}
			before := map[string]*agentv1.Enclave{}
			for _, id := range []string{"a", "b", "c"} {
				before[id] = h.await(id, "healthy", in(healthy))
			}
			h.stop("c")
			h.await("c", "stopped", gone)
			pids := processes(guestPath)
			if err := h.signal(signal); signal == syscall.SIGTERM && err != nil {
				t.Errorf("a graceful stop ends with %v", err)
			}
			h.start()
			for _, id := range []string{"a", "b"} {
				now := h.await(id, "known", func(*agentv1.Enclave) bool { return true })
				was := before[id]
				if now.GetState() != healthy || now.GetEndpoint() == "" || !now.GetClaimed() || !slices.Equal(now.GetGpus(), was.GetGpus()) {
					t.Errorf("%s is %s at %q, claimed %t, with %v; it was HEALTHY at %q with %v", id, now.GetState(),
						now.GetEndpoint(), now.GetClaimed(), now.GetGpus(), was.GetEndpoint(), was.GetGpus())
				}
				if now.GetGeneration() <= was.GetGeneration() {
					t.Errorf("%s went back from generation %d to %d", id, was.GetGeneration(), now.GetGeneration())
				}
				h.await(id, "attested again", func(e *agentv1.Enclave) bool { return e.GetState() == healthy && e.GetVerdict().GetAccepted() })
			}
			h.await("c", "still stopped", func(e *agentv1.Enclave) bool { return gone(e) && e.GetState() == stopped })
			if after := processes(guestPath); !slices.Equal(pids, after) {
				t.Errorf("guests %v ran before, %v after", pids, after)
			}
			_, err := h.enclaves().CreateEnclave(t.Context(), &agentv1.CreateEnclaveRequest{
				Fence: &agentv1.Fence{ClusterId: "c2", Epoch: 9}, Id: "x", Spec: newSpec(0)})
			if rpc.Reason(err) != "FOREIGN_CLUSTER" {
				t.Errorf("after the restart another cluster gives %v", err)
			}
			h.stop("a")
			h.stop("b")
			h.await("a", "gone", gone)
			h.await("b", "gone", gone)
		})
	}
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault  string
		want   func(*agentv1.Enclave) bool
		reason string
		boot   string
	}{
		"an image that is missing":      {"image-missing", gone, "IMAGE_MISSING", "10m"},
		"a boot that fails":             {"boot-fails", gone, "BOOT_FAILED", "10m"},
		"evidence that is wrong":        {"attestation-wrong", gone, "ATTESTATION_REFUSED", "10m"},
		"a key in between":              {"attestation-foreign-key", gone, "ATTESTATION_REFUSED", "10m"},
		"a death":                       {"dies-after:300ms", gone, "VM_EXITED", "10m"},
		"health that is lost":           {"unhealthy-after:15s", in(unhealthy), "HEALTH_CHECK_FAILED", "10m"},
		"a guest that hangs from birth": {"hangs", gone, "BOOT_TIMEOUT", "3s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, c.boot)
			h.create("f", newSpec(1, faults.FaultName, c.fault))
			e := h.await("f", c.reason, func(e *agentv1.Enclave) bool { return c.want(e) && e.GetReason() == c.reason })
			if e.GetText() == "" {
				t.Error("the reason comes without words")
			}
			h.stop("f")
			h.await("f", "gone", gone)
			if f := h.facts(); f.GetFreeGpus() != 8 {
				t.Errorf("%d GPUs are free afterwards", f.GetFreeGpus())
			}
		})
	}
}

func TestEvidenceAnswersTheCallersNonce(t *testing.T) {
	h := newHost(t, "10m")
	h.create("a", newSpec(0))
	h.await("a", "healthy", in(healthy))
	nonce := sha256.Sum256([]byte("mine"))
	got, err := h.enclaves().GetEvidence(t.Context(), &agentv1.GetEvidenceRequest{Id: "a", Nonce: nonce[:]})
	if err != nil {
		t.Fatal(err)
	}
	if !got.GetVerdict().GetAccepted() || len(got.GetTlsKeyDigest()) != 32 || !strings.Contains(string(got.GetDocument()), "simulated") {
		t.Errorf("evidence is %s with verdict %v", got.GetDocument(), got.GetVerdict())
	}
	h.stop("a")
	h.await("a", "gone", gone)
	if _, err := h.enclaves().GetEvidence(t.Context(), &agentv1.GetEvidenceRequest{Id: "a", Nonce: nonce[:]}); rpc.Reason(err) != "NOT_LISTENING" {
		t.Errorf("evidence of a stopped enclave gives %v", err)
	}
}

func TestTheConsoleIsStreamedToItsEnd(t *testing.T) {
	h := newHost(t, "10m")
	h.create("a", newSpec(0))
	h.await("a", "healthy", in(healthy))
	stream, err := h.enclaves().StreamConsole(t.Context(), &agentv1.StreamConsoleRequest{Id: "a", Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	h.stop("a")
	var all bytes.Buffer
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", all.Len(), err)
		}
		all.Write(m.GetChunk())
	}
	if all.Len() == 0 {
		t.Error("the console is empty")
	}
	h.await("a", "gone", gone)
}
