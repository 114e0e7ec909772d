package ledger

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// running is what a backend reports for an enclave made from a request.
func running(r Request) Observed {
	return Observed{EnclaveID: r.EnclaveID, SpecDigest: r.SpecDigest, ClusterID: r.ClusterID,
		GPUs: r.GPUs, Switches: r.Switches, CPUs: r.CPUs, MemoryMiB: r.MemoryMiB}
}

// reopened makes claims in one boot and returns the ledger of another process.
func reopened(t *testing.T, bootID string, claims ...Request) *Ledger {
	t.Helper()
	dir := t.TempDir()
	l := open(t, dir, config("boot-1"))
	for _, r := range claims {
		mustClaim(t, l, r)
	}
	shut(t, l)
	l, err := Open(dir, config(bootID))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, l) })
	return l
}

func reconcile(t *testing.T, l *Ledger, observed ...Observed) Report {
	t.Helper()
	report, err := l.Reconcile(t.Context(), observed)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// ids are the enclave ids of claims.
func ids(claims []Claim) []string {
	var all []string
	for _, c := range claims {
		all = append(all, c.EnclaveID)
	}
	return all
}

func TestNothingCanBeClaimedBeforeTheLedgerIsReconciled(t *testing.T) {
	a := request("a-r1-1", 0)
	l := reopened(t, "boot-1", a)
	for _, r := range []Request{a, request("b-r1-1", 1)} {
		if _, err := l.Claim(t.Context(), r); !errors.Is(err, ErrNotReconciled) {
			t.Errorf("%s: %v, want ErrNotReconciled", r.EnclaveID, err)
		}
	}
	reconcile(t, l, running(a))
	mustClaim(t, l, request("b-r1-1", 1))
}

func TestAClaimWithItsEnclaveIsKept(t *testing.T) {
	a := request("a-r1-1", 0)
	l := reopened(t, "boot-2", a)
	report := reconcile(t, l, running(a))
	if !cmp.Equal(ids(report.Kept), []string{"a-r1-1"}) || len(report.Quarantined) != 0 {
		t.Fatalf("report %+v", report)
	}
	if c := view(t, l).Claims[0]; c.BootID != "boot-2" {
		t.Errorf("boot %s, want the one in which it was seen", c.BootID)
	}
}

func TestAClaimFromBeforeARebootWithoutEnclaveIsReleased(t *testing.T) {
	l := reopened(t, "boot-2", request("a-r1-1", 0))
	report := reconcile(t, l)
	if !cmp.Equal(ids(report.Released), []string{"a-r1-1"}) || len(view(t, l).Claims) != 0 {
		t.Fatalf("report %+v", report)
	}
	mustClaim(t, l, request("b-r1-1", 0))
}

func TestAClaimOfThisBootWithoutEnclaveIsReportedAndKeepsItsCards(t *testing.T) {
	l := reopened(t, "boot-1", request("a-r1-1", 0))
	report := reconcile(t, l)
	if !cmp.Equal(ids(report.Missing), []string{"a-r1-1"}) {
		t.Fatalf("report %+v", report)
	}
	if _, err := l.Claim(t.Context(), request("b-r1-1", 0)); !errors.Is(err, ErrHeld) {
		t.Errorf("its card: %v, want ErrHeld", err)
	}
}

func TestAnUnknownHoldersCardsGoIntoQuarantineUntilItIsGone(t *testing.T) {
	l := reopened(t, "boot-1")
	unknown := Observed{GPUs: []gpu.BDF{card(3), "nonsense"}, Text: "process 4211 has /dev/vfio/17 open"}
	report := reconcile(t, l, unknown)
	if diff := cmp.Diff(map[gpu.BDF]string{card(3): unknown.Text}, report.Quarantined); diff != "" {
		t.Fatalf("quarantined (-want +got):\n%s", diff)
	}
	if _, err := l.Claim(t.Context(), request("a-r1-1", 3)); !errors.Is(err, ErrQuarantined) {
		t.Fatalf("claim: %v", err)
	}
	reconcile(t, l)
	mustClaim(t, l, request("a-r1-1", 3))
}

func TestAnOperatorsQuarantineIsNotLiftedByWhatIsObserved(t *testing.T) {
	l := reopened(t, "boot-1")
	if err := l.Quarantine(t.Context(), card(3), "awaits repair"); err != nil {
		t.Fatal(err)
	}
	reconcile(t, l, Observed{GPUs: []gpu.BDF{card(3)}})
	reconcile(t, l)
	if why := view(t, l).Quarantined[card(3)]; why != "awaits repair" {
		t.Errorf("quarantine %q", why)
	}
}

func TestAnEnclaveWithoutAClaimIsAdopted(t *testing.T) {
	a := request("a-r1-1", 0, 1)
	l := reopened(t, "boot-1")
	report := reconcile(t, l, running(a))
	if !cmp.Equal(ids(report.Adopted), []string{"a-r1-1"}) {
		t.Fatalf("report %+v", report)
	}
	if c := mustClaim(t, l, a); c.Phase != PhaseActive {
		t.Errorf("phase %s, want active", c.Phase)
	}
	if _, err := l.Claim(t.Context(), request("b-r1-1", 1)); !errors.Is(err, ErrHeld) {
		t.Errorf("its card: %v, want ErrHeld", err)
	}
}

func TestContradictionsQuarantineTheCardsTheyAreAbout(t *testing.T) {
	a := request("a-r1-1", 0)
	otherSpec, moreCards, nameless := running(a), running(a), running(request("x-r1-1", 4))
	otherSpec.SpecDigest = "sha256:other"
	moreCards.GPUs = []gpu.BDF{card(0), card(5)}
	nameless.SpecDigest = ""
	tests := map[string]struct {
		observed []Observed
		want     []gpu.BDF
	}{
		"an enclave whose spec isn't the claimed one":   {[]Observed{otherSpec}, []gpu.BDF{card(0)}},
		"an enclave with a card that it didn't claim":   {[]Observed{moreCards}, []gpu.BDF{card(5)}},
		"an enclave too unclear to adopt":               {[]Observed{running(a), nameless}, []gpu.BDF{card(4)}},
		"two enclaves with one card":                    {[]Observed{running(a), running(request("b-r1-1", 0, 1))}, []gpu.BDF{card(0), card(1)}},
		"a stranger on a claimed card":                  {[]Observed{running(a), {GPUs: []gpu.BDF{card(0)}}}, []gpu.BDF{card(0)}},
		"an enclave seen twice, once with another spec": {[]Observed{running(a), otherSpec}, []gpu.BDF{card(0)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := reopened(t, "boot-1", a)
			report := reconcile(t, l, test.observed...)
			if len(report.Quarantined) != len(test.want) {
				t.Errorf("quarantined %v, want %v", report.Quarantined, test.want)
			}
			for _, c := range test.want {
				if report.Quarantined[c] == "" {
					t.Errorf("%s is not in quarantine: %v", c, report.Quarantined)
				}
			}
			if held := view(t, l).Held; held[card(0)] != "a-r1-1" {
				t.Errorf("the claim is lost: %v", held)
			}
		})
	}
}
