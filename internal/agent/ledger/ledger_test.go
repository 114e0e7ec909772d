package ledger

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

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func config(bootID string) Config {
	return Config{
		BootID: bootID, Now: func() time.Time { return start },
		Capacity: Capacity{CPUs: 64, MemoryMiB: 1 << 20}, Reserved: Capacity{CPUs: 4, MemoryMiB: 1 << 14},
	}
}

// card is the address of a host's card n.
func card(n int) gpu.BDF { return gpu.BDF(fmt.Sprintf("0000:%02x:00.0", 0x10+n)) }

// request asks for some cards, four CPUs and 1 GiB.
func request(id string, cards ...int) Request {
	r := Request{EnclaveID: id, SpecDigest: "sha256:" + id, ClusterID: "c1", CPUs: 4, MemoryMiB: 1024}
	for _, n := range cards {
		r.GPUs = append(r.GPUs, card(n))
	}
	return r
}

// open opens a ledger on the real filesystem and reconciles it with what is observed.
func open(t *testing.T, dir string, cfg Config, observed ...Observed) *Ledger {
	t.Helper()
	l, err := Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, l) })
	if _, err := l.Reconcile(t.Context(), observed); err != nil {
		t.Fatal(err)
	}
	return l
}

func shut(t *testing.T, l *Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func mustClaim(t *testing.T, l *Ledger, r Request) Claim {
	t.Helper()
	c, err := l.Claim(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func view(t *testing.T, l *Ledger) View {
	t.Helper()
	v, err := l.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAClaimOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, config("boot-1"))
	want := mustClaim(t, l, request("a-r1-1", 1, 0))
	if want.Phase != PhaseClaimed || want.BootID != "boot-1" || !cmp.Equal(want.GPUs, []gpu.BDF{card(0), card(1)}) {
		t.Fatalf("claim %+v", want)
	}
	if err := l.Activate(t.Context(), "a-r1-1"); err != nil {
		t.Fatal(err)
	}
	want.Phase = PhaseActive
	shut(t, l)
	again, err := Open(dir, config("boot-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, again)
	v := view(t, again)
	if diff := cmp.Diff([]Claim{want}, v.Claims); diff != "" || v.Reconciled {
		t.Errorf("reconciled %v, claims (-want +got):\n%s", v.Reconciled, diff)
	}
}

func TestClaimIsIdempotentByIDAndSpec(t *testing.T) {
	l := open(t, t.TempDir(), config("b"))
	first := mustClaim(t, l, request("a-r1-1", 0))
	repeat := request("a-r1-1", 5)
	repeat.Choose = func(gpu.Held, map[gpu.BDF]string) ([]gpu.BDF, []gpu.BDF, error) {
		return nil, nil, errors.New("must not be asked again")
	}
	if diff := cmp.Diff(first, mustClaim(t, l, repeat)); diff != "" {
		t.Errorf("a repeated claim differs:\n%s", diff)
	}
	other := request("a-r1-1", 0)
	other.SpecDigest = "sha256:other"
	if _, err := l.Claim(t.Context(), other); !errors.Is(err, ErrExists) {
		t.Errorf("another spec: %v, want ErrExists", err)
	}
	if err := l.BeginRelease(t.Context(), "a-r1-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Claim(t.Context(), request("a-r1-1", 0)); !errors.Is(err, ErrReleasing) {
		t.Errorf("while releasing: %v, want ErrReleasing", err)
	}
	if err := l.Activate(t.Context(), "a-r1-1"); !errors.Is(err, ErrReleasing) {
		t.Errorf("activate while releasing: %v, want ErrReleasing", err)
	}
}

func TestACardHasOneHolderUntilItIsReleased(t *testing.T) {
	l := open(t, t.TempDir(), config("b"))
	mustClaim(t, l, request("a-r1-1", 0, 1))
	for _, phase := range []func(context.Context, string) error{l.Activate, l.BeginRelease} {
		_, err := l.Claim(t.Context(), request("b-r1-1", 1, 2))
		var held *CardError
		if !errors.Is(err, ErrHeld) || !errors.As(err, &held) || held.BDF != card(1) || held.Holder != "a-r1-1" {
			t.Fatalf("second holder: %v", err)
		}
		if err := phase(t.Context(), "a-r1-1"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(gpu.Held{card(0): "a-r1-1", card(1): "a-r1-1"}, view(t, l).Held); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	if err := l.Release(t.Context(), "a-r1-1"); err != nil {
		t.Fatal(err)
	}
	mustClaim(t, l, request("b-r1-1", 1, 2))
	if err := l.Release(t.Context(), "a-r1-1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("second release: %v, want ErrNotFound", err)
	}
}

func TestCPUsAndMemoryAreAccountedForWithTheHostsShareLeftOut(t *testing.T) {
	l := open(t, t.TempDir(), config("b"))
	whole := view(t, l).Free
	if whole != (Capacity{60, 1<<20 - 1<<14}) {
		t.Fatalf("free %+v", whole)
	}
	big := request("big-r1-1")
	big.CPUs, big.MemoryMiB = 58, 1<<20-1<<14
	mustClaim(t, l, big)
	_, err := l.Claim(t.Context(), request("more-r1-1"))
	var short *CapacityError
	if !errors.Is(err, ErrCapacity) || !errors.As(err, &short) || short.Free != (Capacity{2, 0}) {
		t.Fatalf("over-commitment: %v", err)
	}
	if err := l.Release(t.Context(), "big-r1-1"); err != nil {
		t.Fatal(err)
	}
	if free := view(t, l).Free; free != whole {
		t.Errorf("free %+v after the release, want %+v", free, whole)
	}
}

func TestMalformedClaimsAreRefused(t *testing.T) {
	l := open(t, t.TempDir(), config("b"))
	for name, spoil := range map[string]func(*Request){
		"no id":               func(r *Request) { r.EnclaveID = "" },
		"a long id":           func(r *Request) { r.EnclaveID = strings.Repeat("x", maxText+1) },
		"an id not in UTF-8":  func(r *Request) { r.EnclaveID = "a\xff" },
		"no spec":             func(r *Request) { r.SpecDigest = "" },
		"a long cluster":      func(r *Request) { r.ClusterID = strings.Repeat("x", maxText+1) },
		"negative CPUs":       func(r *Request) { r.CPUs = -1 },
		"negative memory":     func(r *Request) { r.MemoryMiB = -1 },
		"a card twice":        func(r *Request) { r.Switches = r.GPUs },
		"a card by short BDF": func(r *Request) { r.GPUs = []gpu.BDF{"17:00.0"} },
		"too many cards":      func(r *Request) { r.GPUs = make([]gpu.BDF, maxCards+1) },
	} {
		r := request("a-r1-1", 0)
		spoil(&r)
		if _, err := l.Claim(t.Context(), r); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v, want ErrRequest", name, err)
		}
	}
}

func TestQuarantineKeepsCardsBackUntilItEnds(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, config("b"))
	if err := l.Quarantine(t.Context(), card(2), "Xid 79 at 12:00"); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	l = open(t, dir, config("another boot"))
	_, err := l.Claim(t.Context(), request("a-r1-1", 2))
	var kept *CardError
	if !errors.Is(err, ErrQuarantined) || !errors.As(err, &kept) || kept.Why != "Xid 79 at 12:00" {
		t.Fatalf("claim of a quarantined card: %v", err)
	}
	if err := l.Unquarantine(t.Context(), card(2)); err != nil {
		t.Fatal(err)
	}
	mustClaim(t, l, request("a-r1-1", 2))
	if err := l.Unquarantine(t.Context(), card(2)); !errors.Is(err, ErrNotFound) {
		t.Errorf("second end: %v", err)
	}
	if err := l.Quarantine(t.Context(), "nonsense", ""); !errors.Is(err, ErrRequest) {
		t.Errorf("nonsense: %v", err)
	}
}

func TestConcurrentClaimsNeverShareACard(t *testing.T) {
	l := open(t, t.TempDir(), config("b"))
	choose := func(held gpu.Held, _ map[gpu.BDF]string) ([]gpu.BDF, []gpu.BDF, error) {
		for n := range 8 {
			if _, taken := held[card(n)]; !taken {
				return []gpu.BDF{card(n)}, nil, nil
			}
		}
		return nil, nil, gpu.ErrNotEnough
	}
	var group sync.WaitGroup
	errs := make([]error, 12)
	for i := range errs {
		group.Go(func() {
			r := request(fmt.Sprintf("e-r%d-1", i))
			r.Choose = choose
			_, errs[i] = l.Claim(t.Context(), r)
		})
	}
	group.Wait()
	refused := 0
	for _, err := range errs {
		if errors.Is(err, gpu.ErrNotEnough) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if held := view(t, l).Held; len(held) != 8 || refused != 4 {
		t.Errorf("%d cards held, %d refused; want 8 and 4", len(held), refused)
	}
}

func TestEveryCallObeysItsContextAndTheEnd(t *testing.T) {
	l := open(t, t.TempDir(), config("b"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func(context.Context) error{
		"claim":     func(ctx context.Context) error { _, err := l.Claim(ctx, request("a")); return err },
		"activate":  func(ctx context.Context) error { return l.Activate(ctx, "a") },
		"release":   func(ctx context.Context) error { return l.Release(ctx, "a") },
		"list":      func(ctx context.Context) error { _, err := l.List(ctx); return err },
		"held":      func(ctx context.Context) error { _, err := l.Held(ctx); return err },
		"reconcile": func(ctx context.Context) error { _, err := l.Reconcile(ctx, nil); return err },
	} {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s after cancel: %v", name, err)
		}
		defer func() {
			if err := call(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("%s after close: %v", name, err)
			}
		}()
	}
	shut(t, l)
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, config("b"))
	if _, err := Open(dir, config("b")); !errors.Is(err, ErrInUse) {
		t.Fatalf("second open: %v, want ErrInUse", err)
	}
	shut(t, l)
	open(t, dir, config("b"))
}

func TestOpenRefusesAConfigurationThatCantBe(t *testing.T) {
	for _, cfg := range []Config{
		{}, {BootID: strings.Repeat("x", maxText+1)},
		{BootID: "b", Capacity: Capacity{CPUs: 1}, Reserved: Capacity{CPUs: 2}},
	} {
		if _, err := Open(t.TempDir(), cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, config("b")); err == nil {
		t.Error("a file was accepted as a folder")
	}
}

// full is a disk that refuses writes while it is full.
type full struct {
	Disk
	on *bool
}

var errFull = errors.New("no space left on device")

func (f full) CreateTemp(dir, pattern string) (atomicfile.File, error) {
	if *f.on {
		return nil, errFull
	}
	return f.Disk.CreateTemp(dir, pattern)
}

func TestAChangeThatCannotBeWrittenHasNotHappened(t *testing.T) {
	on := false
	cfg := config("b")
	cfg.FS = full{on: &on}
	l := open(t, t.TempDir(), cfg)
	mustClaim(t, l, request("a-r1-1", 0))
	on = true
	if _, err := l.Claim(t.Context(), request("b-r1-1", 1)); !errors.Is(err, errFull) {
		t.Errorf("claim: %v", err)
	}
	if err := l.Release(t.Context(), "a-r1-1"); !errors.Is(err, errFull) {
		t.Errorf("release: %v", err)
	}
	if _, err := l.Reconcile(t.Context(), nil); !errors.Is(err, errFull) {
		t.Errorf("reconcile: %v", err)
	}
	if diff := cmp.Diff(gpu.Held{card(0): "a-r1-1"}, view(t, l).Held); diff != "" {
		t.Errorf("held while the disk is full (-want +got):\n%s", diff)
	}
	on = false
	mustClaim(t, l, request("b-r1-1", 1))
	if err := l.Release(t.Context(), "a-r1-1"); err != nil {
		t.Error(err)
	}
}
