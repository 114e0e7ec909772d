package sevsnp_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// vector reads a file of recorded evidence. Without CASEMATE_VECTORS the test says
// which set it did not run; the Makefile sets the variable whenever the set exists.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("CASEMATE_VECTORS")
	if dir == "" {
		t.Log("NOT RUN: the set sevsnp of recorded evidence; set CASEMATE_VECTORS to its folder")
		t.SkipNow()
	}
	b, err := os.ReadFile(filepath.Join(dir, "sevsnp", name))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".hex") {
		if b, err = hex.DecodeString(strings.TrimSpace(string(b))); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// look is the policy of a command that only looks.
func look() *sevsnp.Policy { return &sevsnp.Policy{PermitUnpinned: true} }

func day(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func newVerifier(t testing.TB, roots []sevsnp.Root) *sevsnp.Verifier {
	t.Helper()
	v, err := sevsnp.NewVerifier(sevsnp.Config{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantRefused fails unless exactly the named check failed.
func wantRefused(t testing.TB, v *attest.Verdict, check string) {
	t.Helper()
	failed := v.Failed()
	if v.Accepted || len(failed) != 1 || failed[0].Name != check {
		t.Errorf("verdict: accepted %v, failed %+v; want refused for %s alone", v.Accepted, failed, check)
	}
}

func wantAccepted(t testing.TB, v *attest.Verdict) {
	t.Helper()
	if !v.Accepted {
		t.Errorf("refused: %v; want accepted", v.Err())
	}
}

// realEvidence returns the recorded reports with a time at which they are good.
func realEvidence(t testing.TB) map[string]struct {
	ev sevsnp.Evidence
	at time.Time
} {
	type item = struct {
		ev sevsnp.Evidence
		at time.Time
	}
	return map[string]item{
		"milan, chain given": {sevsnp.Evidence{
			Report: vector(t, "milan-report.hex"), VEK: vector(t, "milan-vcek.der"), Chain: vector(t, "milan-chain.pem"),
		}, day(t, "2026-11-01")},
		"milan, chain from the roots": {sevsnp.Evidence{
			Report: vector(t, "milan-report.hex"), VEK: vector(t, "milan-vcek.der"),
		}, day(t, "2026-11-01")},
		"milan2": {sevsnp.Evidence{
			Report: vector(t, "milan2-report.bin"), VEK: vector(t, "milan2-vcek.der"), Chain: vector(t, "milan-chain.pem"),
		}, day(t, "2029-12-31")},
		"vlek, asvk from the roots": {sevsnp.Evidence{
			Report: vector(t, "milan-vlek-report.bin"), VEK: vector(t, "milan-vlek.der"),
		}, day(t, "2025-06-01")},
	}
}

func TestRealEvidenceIsAccepted(t *testing.T) {
	for name, c := range realEvidence(t) {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, nil)
			for range 2 { // the second time from the cache
				got := v.Verify(c.ev, look(), c.at)
				wantAccepted(t, got)
				if len(got.Insecure) != 0 || got.Claims["product"] != "Milan" {
					t.Errorf("insecure %v, claims %v; want none, and Milan", got.Insecure, got.Claims)
				}
			}
			if v.CachedChains() != 1 {
				t.Errorf("%d chains cached, want 1", v.CachedChains())
			}
		})
	}
}

func TestRealEvidenceIsRefusedOutsideItsTime(t *testing.T) {
	for name, at := range map[string][2]string{
		"milan, chain given":        {"2023-04-01", "2030-04-05"},
		"milan2":                    {"2023-01-01", "2030-01-26"},
		"vlek, asvk from the roots": {"2024-12-01", "2026-01-01"},
	} {
		for _, s := range at {
			t.Run(name+" at "+s, func(t *testing.T) {
				v := newVerifier(t, nil)
				c := realEvidence(t)[name]
				wantAccepted(t, v.Verify(c.ev, look(), c.at)) // fills the cache
				wantRefused(t, v.Verify(c.ev, look(), day(t, s)), sevsnp.CheckCertificateValidity)
				wantAccepted(t, v.Verify(c.ev, look(), c.at))
			})
		}
	}
}

func TestRealEvidenceIsRefusedForAnotherOnesKey(t *testing.T) {
	good := realEvidence(t)["milan, chain given"].ev
	at := day(t, "2026-11-01")
	v := newVerifier(t, nil)
	other := good
	other.VEK = vector(t, "milan2-vcek.der")
	got := v.Verify(other, look(), at)
	names := []string{}
	for _, c := range got.Failed() {
		names = append(names, c.Name)
	}
	if strings.Join(names, " ") != "certificate_extensions report_signature" {
		t.Errorf("failed %v, want the chip and the signature", names)
	}
	vlek := good
	vlek.VEK = vector(t, "milan-vlek.der")
	wantRefused(t, v.Verify(vlek, look(), at), sevsnp.CheckCertificateFormat)
	turin := good
	turin.Chain = vector(t, "turin-chain.pem")
	wantRefused(t, v.Verify(turin, look(), at), sevsnp.CheckSignatureChain)
}

// The real Turin VCEK has the FMC SPL extension and a chip id of 8 bytes. No report
// of that chip is public, so a report that isn't signed by it gets as far as its
// signature and no further.
func TestRealTurinCertificateIsUnderstood(t *testing.T) {
	ev := turinEvidence(t)
	v := newVerifier(t, nil)
	wantRefused(t, v.Verify(ev, look(), day(t, "2026-11-01")), sevsnp.CheckReportSignature)
	ev.Chain = nil
	wantRefused(t, v.Verify(ev, look(), day(t, "2026-11-01")), sevsnp.CheckReportSignature)
	ev.Report[0x180] = 1 // FMC of REPORTED_TCB
	got := v.Verify(ev, look(), day(t, "2026-11-01"))
	if f := got.Failed(); len(f) != 2 || f[0].Name != sevsnp.CheckCertificateExtensions {
		t.Errorf("failed %+v, want the TCB's FMC to be compared", f)
	}
}

// turinEvidence is the recorded Turin's VCEK and chain, with a report for its chip
// and TCB that a simulated key signed.
func turinEvidence(t testing.TB) sevsnp.Evidence {
	t.Helper()
	signer := newSigner(t, sevsnp.Turin)
	r := signer.Report()
	r.ReportedTCB = sevsnp.TCB{Microcode: 9}.Encode(sevsnp.Turin)
	r.ChipID = [64]byte{0x1E, 0x55, 0x0A, 0x8E, 0xE5, 0xCF, 0x9F, 0x4D}
	ev, err := signer.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	ev.VEK, ev.Chain = vector(t, "turin-vcek.der"), vector(t, "turin-chain.pem")
	return ev
}
