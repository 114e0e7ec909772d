package tdx_test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	guesttest "github.com/google/go-tdx-guest/testing"
	"github.com/google/go-tdx-guest/testing/testdata"
	guest "github.com/google/go-tdx-guest/verify"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// sampleTime is when the collateral of go-tdx-guest's sample quote was valid.
var sampleTime = time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC)

// sample is go-tdx-guest's recorded quote without the bytes appended to it, with
// its collateral.
func sample(t testing.TB) ([]byte, *tdx.Collateral) {
	t.Helper()
	q, err := tdx.ParseQuote(testdata.RawQuote)
	if err != nil {
		t.Fatal(err)
	}
	chain := func(header map[string][]string, name string) []byte {
		text, err := url.QueryUnescape(header[name][0])
		if err != nil {
			t.Fatal(err)
		}
		return []byte(text)
	}
	return bytes.Clone(testdata.RawQuote[:len(testdata.RawQuote)-q.Trailing]), &tdx.Collateral{
		TCBInfo: testdata.TcbInfoBody, QEIdentity: testdata.QeIdentityBody,
		PCKCRL: testdata.PckCrlBody, RootCRL: testdata.RootCrlBody,
		TCBInfoChain:    chain(guesttest.TcbInfoHeader, "Tcb-Info-Issuer-Chain"),
		QEIdentityChain: chain(guesttest.QeIdentityHeader, "Sgx-Enclave-Identity-Issuer-Chain"),
		PCKCRLChain:     chain(guesttest.PckCrlHeader, "Sgx-Pck-Crl-Issuer-Chain"),
	}
}

// guestVerify asks go-tdx-guest, whose panics count as a verdict of their own.
func guestVerify(quote []byte, getter *guesttest.Getter, roots *x509.CertPool, at time.Time) (err error, panicked bool) {
	defer func() {
		if r := recover(); r != nil {
			err, panicked = fmt.Errorf("panic: %v", r), true
		}
	}()
	if roots == nil { // it would write a warning to stdout for its own root
		roots = x509.NewCertPool()
		roots.AddCert(tdx.IntelRoot())
	}
	opts := &guest.Options{Now: at, TrustedRoots: roots}
	if getter != nil {
		opts.CheckRevocations, opts.GetCollateral, opts.Getter = true, true, getter
	}
	return guest.RawTdxQuote(quote, opts), false
}

// TestSampleOfGoTDXGuestIsJudgedAlike: its chain holds, and the platform is below
// every level of the TCB info recorded with it.
func TestSampleOfGoTDXGuestIsJudgedAlike(t *testing.T) {
	quote, c := sample(t)
	v := newVerifier(t, tdx.Config{})
	if err, _ := guestVerify(quote, nil, nil, sampleTime); err != nil {
		t.Errorf("go-tdx-guest: %v", err)
	}
	mustAccept(t, v.Verify(tdx.Evidence{Quote: quote}, nil, chainOnly(), sampleTime))
	if err, _ := guestVerify(quote, guesttest.TestGetter, nil, sampleTime); err == nil || !strings.Contains(err.Error(), "no matching TCB level") {
		t.Errorf("expected go-tdx-guest to find no TCB level, got %v", err)
	}
	mustRefuse(t, v.Verify(tdx.Evidence{Quote: quote}, c, listed(), sampleTime), "tcb_status")
}

// Why the two verifiers may disagree on a changed quote. In each of these we
// refuse, and go-tdx-guest v0.3.1 panics or accepts.
const (
	guestPanics     = "go-tdx-guest panics"
	guestLenientPEM = "go-tdx-guest reads PEM text that is not canonical"
	guestNoCheck    = "go-tdx-guest doesn't compare what is signed here: "
)

// explain names the known reason for a disagreement, or "".
func explain(ours *attest.Verdict, panicked bool) string {
	failed := ours.Failed()
	switch {
	case ours.Accepted:
		return ""
	case panicked:
		return guestPanics
	case len(failed) == 1 && failed[0].Name == "pck_chain" && strings.Contains(failed[0].Detail, "PEM"):
		return guestLenientPEM
	case len(failed) == 1 && failed[0].Name == "qe_vendor_id":
		return guestNoCheck + failed[0].Name
	}
	return ""
}

// differ changes one bit in every third byte of a quote that both accept, and
// asks both. Where they disagree, the reason must be a known one.
func differ(t *testing.T, quote []byte, theirs func([]byte) (error, bool), ours func([]byte) *attest.Verdict) {
	if err, _ := theirs(quote); err != nil {
		t.Fatalf("go-tdx-guest refuses the unchanged quote: %v", err)
	}
	mustAccept(t, ours(quote))
	agreed, disagreed := 0, map[string]int{}
	for i := 0; i < len(quote); i += 3 * min(exhaustiveStride, 10) {
		changed := bytes.Clone(quote)
		changed[i] ^= 1 << (i / 3 % 8)
		err, panicked := theirs(changed)
		verdict := ours(changed)
		if (err == nil) == verdict.Accepted && !panicked {
			agreed++
			continue
		}
		why := explain(verdict, panicked)
		if why == "" {
			t.Errorf("byte %d: go-tdx-guest says %v, we say %v", i, err, verdict.Err())
		}
		disagreed[why]++
	}
	t.Logf("agreed on %d changes", agreed)
	for _, why := range slices.Sorted(maps.Keys(disagreed)) {
		t.Logf("disagreed on %d changes: %s", disagreed[why], why)
	}
}

func TestVerdictsOnChangedRecordedQuotesAgree(t *testing.T) {
	v := newVerifier(t, tdx.Config{})
	quotes := map[string][]byte{"go-tdx-guest's sample": nil, "tdx_quote": nil}
	quotes["go-tdx-guest's sample"], _ = sample(t)
	for name, at := range map[string]time.Time{"go-tdx-guest's sample": sampleTime, "tdx_quote": quoteTime} {
		t.Run(name, func(t *testing.T) {
			quote := quotes[name]
			if quote == nil {
				quote = loadVector(t, name).quote
			}
			differ(t, quote,
				func(q []byte) (error, bool) { return guestVerify(q, nil, nil, at) },
				func(q []byte) *attest.Verdict { return v.Verify(tdx.Evidence{Quote: q}, nil, chainOnly(), at) })
		})
	}
}

func TestVerdictsOnChangedSyntheticQuotesWithCollateralAgree(t *testing.T) {
	s := newScene(t, 4, 2)
	s.collateral.TCBInfo["fmspc"] = "b0c06f000000"
	raw, c := s.build(t)
	v := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert})
	getter := pcsGetter(c, "b0c06f000000")
	differ(t, raw,
		func(q []byte) (error, bool) { return guestVerify(q, getter, rootPool(s), testTime) },
		func(q []byte) *attest.Verdict { return v.Verify(tdx.Evidence{Quote: q}, c, listed(), testTime) })
}

// TestKnownDisagreementsWithGoTDXGuest holds what the reference gets wrong, so
// that a change there is noticed.
func TestKnownDisagreementsWithGoTDXGuest(t *testing.T) {
	quote, _ := sample(t)
	t.Run("it panics on an auth data length that reaches past the quote", func(t *testing.T) {
		changed := bytes.Clone(quote)
		changed[1219] ^= 0x80
		if _, panicked := guestVerify(changed, nil, nil, sampleTime); !panicked {
			t.Error("expected a panic")
		}
		v := newVerifier(t, tdx.Config{})
		mustRefuse(t, v.Verify(tdx.Evidence{Quote: changed}, nil, chainOnly(), sampleTime), "quote_format")
	})
	t.Run("it compares the FMSPC by the case of its digits", func(t *testing.T) {
		vec := loadVector(t, "tdx_quote")
		err, _ := guestVerify(vec.quote, pcsGetter(vec.collateral, "b0c06f000000"), nil, quoteTime)
		if err == nil || !strings.Contains(err.Error(), "FMSPC") {
			t.Errorf("expected it to refuse for the FMSPC, got %v", err)
		}
		mustAccept(t, newVerifier(t, tdx.Config{}).Verify(tdx.Evidence{Quote: vec.quote}, vec.collateral, listed(), quoteTime))
	})
	t.Run("it doesn't read version 5", func(t *testing.T) {
		vec := loadVector(t, "tdx_quote_outdated")
		if err, _ := guestVerify(vec.quote, nil, nil, outdatedTime); err == nil {
			t.Error("expected it to refuse version 5")
		}
		mustAccept(t, newVerifier(t, tdx.Config{}).Verify(tdx.Evidence{Quote: vec.quote}, nil, chainOnly(), outdatedTime))
	})
	t.Run("it compares no QE vendor and no debug bit", func(t *testing.T) {
		s := newScene(t, 4, 2)
		s.quote.Header.QEVendorID[0]++
		s.quote.Body.TDAttributes[0] = 1
		s.policy.TCB = tdx.ChainOnly
		raw, _ := s.build(t)
		if err, _ := guestVerify(raw, nil, rootPool(s), testTime); err != nil {
			t.Errorf("expected it to accept: %v", err)
		}
		mustRefuse(t, s.run(t), "qe_vendor_id", "debug_off")
	})
}

// TestUnchangedRecordedQuoteAgreesByItsChainAlone compares the real quote of
// version 4 without collateral, where the FMSPC plays no part.
func TestUnchangedRecordedQuoteAgreesByItsChainAlone(t *testing.T) {
	vec := loadVector(t, "tdx_quote")
	if err, _ := guestVerify(vec.quote, nil, nil, quoteTime); err != nil {
		t.Errorf("go-tdx-guest: %v", err)
	}
	mustAccept(t, newVerifier(t, tdx.Config{}).Verify(tdx.Evidence{Quote: vec.quote}, nil, chainOnly(), quoteTime))
}

// pcsGetter answers go-tdx-guest as the PCS would.
func pcsGetter(c *tdx.Collateral, fmspc string) *guesttest.Getter {
	const tdxURL, sgxURL = "https://api.trustedservices.intel.com/tdx/certification/v4", "https://api.trustedservices.intel.com/sgx/certification/v4"
	header := func(name string, chain []byte) map[string][]string {
		return map[string][]string{name: {url.QueryEscape(string(chain))}}
	}
	return &guesttest.Getter{Responses: map[string]guesttest.HTTPResponse{
		tdxURL + "/qe/identity":                                             {Header: header("Sgx-Enclave-Identity-Issuer-Chain", c.QEIdentityChain), Body: c.QEIdentity},
		tdxURL + "/tcb?fmspc=" + fmspc:                                      {Header: header("Tcb-Info-Issuer-Chain", c.TCBInfoChain), Body: c.TCBInfo},
		sgxURL + "/pckcrl?ca=platform&encoding=der":                         {Header: header("Sgx-Pck-Crl-Issuer-Chain", c.PCKCRLChain), Body: c.PCKCRL},
		"https://certificates.trustedservices.intel.com/IntelSGXRootCA.der": {Body: c.RootCRL},
		tdxtest.RootCRLURL:                                                  {Body: c.RootCRL},
	}}
}

// TestSyntheticStatusesAgreeWithGoTDXGuest compares verdicts on synthetic platforms
// with collateral, in the digits' case that go-tdx-guest understands.
func TestSyntheticStatusesAgreeWithGoTDXGuest(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"up to date":                  func(*scene) {},
		"outdated PCE":                func(s *scene) { s.ext.PCESVN = 10 },
		"outdated microcode":          func(s *scene) { s.ext.ComponentSVNs[0] = 2 },
		"outdated module":             func(s *scene) { s.quote.Body.TEETCBSVN[0] = 3 },
		"outdated TDX component":      func(s *scene) { s.quote.Body.TEETCBSVN[2] = 2 },
		"outdated quoting enclave":    func(s *scene) { s.quote.QEReport.ISVSVN = 3 },
		"foreign quoting enclave":     func(s *scene) { s.quote.QEReport.MRSigner[0]++ },
		"unknown module":              func(s *scene) { s.quote.Body.TEETCBSVN[1] = 9 },
		"TCB info of another FMSPC":   func(s *scene) { s.collateral.TCBInfo["fmspc"] = "b0c06f000001" },
		"TCB info that has ended":     func(s *scene) { s.at = testTime.Add(40 * 24 * time.Hour) },
		"quote changed after signing": func(s *scene) { s.quote.AfterSigning = func(q []byte) { q[600]++ } },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 4, 2)
			s.collateral.TCBInfo["fmspc"] = "b0c06f000000"
			s.pki.NotAfter = testTime.AddDate(1, 0, 0)
			change(s)
			raw, c := s.build(t)
			getter := pcsGetter(c, hex.EncodeToString(s.ext.FMSPC[:]))
			theirs, _ := guestVerify(raw, getter, rootPool(s), s.at)
			ours := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert}).Verify(tdx.Evidence{Quote: raw}, c, s.policy, s.at).Err()
			if (theirs == nil) != (ours == nil) {
				t.Errorf("go-tdx-guest says %v, we say %v", theirs, ours)
			}
		})
	}
}
