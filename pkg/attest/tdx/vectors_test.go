package tdx_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// Times at which the recorded collateral was valid.
var (
	quoteTime    = time.Date(2025, 6, 25, 0, 0, 0, 0, time.UTC)
	outdatedTime = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
)

// vector is recorded evidence: a quote, and its collateral as files of the PCS.
type vector struct {
	quote      []byte
	collateral *tdx.Collateral
}

// loadVector reads recorded evidence. A run without the vectors says which set it
// did not run, and fails where CASEMATE_VECTORS is set but the set is not there.
func loadVector(t testing.TB, name string) vector {
	t.Helper()
	dir := os.Getenv("CASEMATE_VECTORS")
	if dir == "" {
		t.Skipf("CASEMATE_VECTORS is not set: did not run the set tdx/%s", name)
	}
	quote, err := os.ReadFile(filepath.Join(dir, "tdx", name))
	if err != nil {
		t.Fatalf("read vector: %v", err)
	}
	doc, err := os.ReadFile(filepath.Join(dir, "tdx", name+"_collateral.json"))
	if err != nil {
		t.Fatalf("read vector: %v", err)
	}
	return vector{quote, convertCollateral(t, doc)}
}

// convertCollateral turns the layout of the recorded collateral, where bodies and
// signatures lie apart, into what the PCS sends.
func convertCollateral(t testing.TB, doc []byte) *tdx.Collateral {
	t.Helper()
	var w map[string]string
	if err := json.Unmarshal(doc, &w); err != nil {
		t.Fatalf("read recorded collateral: %v", err)
	}
	fromHex := func(s string) []byte {
		out, err := hex.DecodeString(s)
		if err != nil {
			t.Fatalf("read recorded collateral: %v", err)
		}
		return out
	}
	return &tdx.Collateral{
		TCBInfo:         fmt.Appendf(nil, `{"tcbInfo":%s,"signature":"%s"}`, w["tcb_info"], w["tcb_info_signature"]),
		QEIdentity:      fmt.Appendf(nil, `{"enclaveIdentity":%s,"signature":"%s"}`, w["qe_identity"], w["qe_identity_signature"]),
		PCKCRL:          fromHex(w["pck_crl"]),
		RootCRL:         fromHex(w["root_ca_crl"]),
		TCBInfoChain:    []byte(w["tcb_info_issuer_chain"]),
		QEIdentityChain: []byte(w["qe_identity_issuer_chain"]),
		PCKCRLChain:     []byte(w["pck_crl_issuer_chain"]),
	}
}

// listed is the policy of a caller who pins nothing and is told so.
func listed() tdx.Policy { return tdx.Policy{Absent: tdx.AbsentListed} }

func chainOnly() tdx.Policy { return tdx.Policy{Absent: tdx.AbsentListed, TCB: tdx.ChainOnly} }

func newVerifier(t testing.TB, cfg tdx.Config) *tdx.Verifier {
	t.Helper()
	v, err := tdx.NewVerifier(cfg)
	if err != nil {
		t.Fatalf("new verifier: %v", err)
	}
	return v
}

func mustAccept(t *testing.T, v *attest.Verdict) {
	t.Helper()
	if !v.Accepted {
		t.Fatalf("expected the quote to be accepted: %v", v.Err())
	}
}

// mustRefuse expects exactly the named checks to have failed.
func mustRefuse(t *testing.T, v *attest.Verdict, names ...string) {
	t.Helper()
	if v.Accepted {
		t.Fatalf("expected the quote to be refused for %v, it was accepted", names)
	}
	failed := map[string]bool{}
	for _, c := range v.Failed() {
		failed[c.Name] = true
	}
	for _, n := range names {
		if !failed[n] {
			t.Errorf("expected the check %s to fail; %v", n, v.Err())
		}
		delete(failed, n)
	}
	for n := range failed {
		t.Errorf("the check %s failed as well, expected only %v; %v", n, names, v.Err())
	}
}

func TestRecordedQuoteIsAcceptedWhileItsCollateralIsValid(t *testing.T) {
	vec := loadVector(t, "tdx_quote")
	v := newVerifier(t, tdx.Config{})
	verdict := v.Verify(tdx.Evidence{Quote: vec.quote}, vec.collateral, listed(), quoteTime)
	mustAccept(t, verdict)
	for key, want := range map[string]any{"tcb_status": "UpToDate", "fmspc": "b0c06f000000", "ppid": "811dca2a26b952e85bb6448b097ba4fd", "trailing_bytes": 70} {
		if got := verdict.Claims[key]; got != want {
			t.Errorf("claim %s is %v, expected %v", key, got, want)
		}
	}
	mustRefuse(t, v.Verify(tdx.Evidence{Quote: vec.quote}, vec.collateral, listed(), outdatedTime), "collateral_freshness")
	mustRefuse(t, v.Verify(tdx.Evidence{Quote: vec.quote}, nil, listed(), quoteTime), "collateral")
}

func TestRecordedOutdatedQuoteIsRefusedForItsTCB(t *testing.T) {
	vec := loadVector(t, "tdx_quote_outdated")
	v := newVerifier(t, tdx.Config{})
	mustRefuse(t, v.Verify(tdx.Evidence{Quote: vec.quote}, vec.collateral, listed(), outdatedTime), "tcb_status")
	p := listed()
	p.AcceptedTCBStatuses = []tdx.Status{
		tdx.UpToDate, tdx.SWHardeningNeeded, tdx.ConfigurationNeeded, tdx.ConfigurationAndSWHardeningNeeded,
		tdx.OutOfDate, tdx.OutOfDateConfigurationNeeded, tdx.TDRelaunchAdvised,
	}
	// Its component 7 is below even the oldest level listed, which no status covers.
	mustRefuse(t, v.Verify(tdx.Evidence{Quote: vec.quote}, vec.collateral, p, outdatedTime), "tcb_status")
}

func TestRecordedOutdatedQuoteIsAcceptedByItsChainAlone(t *testing.T) {
	vec := loadVector(t, "tdx_quote_outdated")
	verdict := newVerifier(t, tdx.Config{}).Verify(tdx.Evidence{Quote: vec.quote}, nil, chainOnly(), outdatedTime)
	mustAccept(t, verdict)
	if len(verdict.Insecure) != 1 || verdict.Insecure[0] != tdx.MarkTCBNotChecked {
		t.Errorf("marks are %v, expected %s", verdict.Insecure, tdx.MarkTCBNotChecked)
	}
	if _, ok := verdict.Claims["tcb_status"]; ok {
		t.Error("a status is claimed that nobody checked")
	}
}

func TestRecordedCollateralNeedsNoIssuerChainsUnderIntelsRoot(t *testing.T) {
	vec := loadVector(t, "tdx_quote")
	c := *vec.collateral
	c.TCBInfoChain, c.QEIdentityChain, c.PCKCRLChain = nil, nil, nil
	mustAccept(t, newVerifier(t, tdx.Config{}).Verify(tdx.Evidence{Quote: vec.quote}, &c, listed(), quoteTime))
}
