package tdx_test

import (
	"bytes"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

func folder(c *tdx.Collateral) fstest.MapFS {
	return fstest.MapFS{
		"tcb_info.json": {Data: c.TCBInfo}, "qe_identity.json": {Data: c.QEIdentity},
		"pck.crl": {Data: c.PCKCRL}, "root.crl": {Data: c.RootCRL},
		"tcb_info_chain.pem": {Data: c.TCBInfoChain}, "qe_identity_chain.pem": {Data: c.QEIdentityChain},
		"pck_crl_chain.pem": {Data: c.PCKCRLChain},
	}
}

func TestCollateralIsLoadedFromItsFiles(t *testing.T) {
	s := newScene(t, 4, 2)
	raw, c := s.build(t)
	loaded, err := tdx.LoadCollateral(folder(c))
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert})
	mustAccept(t, v.Verify(tdx.Evidence{Quote: raw}, loaded, listed(), testTime))
}

func TestAbsentRequiredFileIsNamedByTheVerdict(t *testing.T) {
	for _, name := range []string{"tcb_info.json", "qe_identity.json", "pck.crl", "root.crl"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 4, 2)
			raw, c := s.build(t)
			files := folder(c)
			delete(files, name)
			loaded := must(tdx.LoadCollateral(files))
			verdict := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert}).Verify(tdx.Evidence{Quote: raw}, loaded, listed(), testTime)
			mustRefuse(t, verdict, "collateral")
			if !strings.Contains(verdict.Failed()[0].Detail, name) {
				t.Errorf("the verdict doesn't name %s: %s", name, verdict.Failed()[0].Detail)
			}
		})
	}
}

func TestUnusableFolderIsAnError(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"empty":      {},
		"other file": {"tcb.json": {}},
		"too large":  {"tcb_info.json": {Data: make([]byte, 1<<20)}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tdx.LoadCollateral(files); err == nil {
				t.Error("expected an error")
			}
		})
	}
}

// TestOneSigningChainServesBothDocuments: one certificate signs TCB info and QE
// identity, so either chain stands in for the other; the PCK CRL needs none.
func TestOneSigningChainServesBothDocuments(t *testing.T) {
	for name, drop := range map[string]func(*tdx.Collateral){
		"without that of TCB info":    func(c *tdx.Collateral) { c.TCBInfoChain = nil },
		"without that of QE identity": func(c *tdx.Collateral) { c.QEIdentityChain = nil },
		"without that of the PCK CRL": func(c *tdx.Collateral) { c.PCKCRLChain = nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 4, 2)
			s.signed = drop
			mustAccept(t, s.run(t))
		})
	}
}

func TestListsMayBePEM(t *testing.T) {
	s := newScene(t, 4, 2)
	s.signed = func(c *tdx.Collateral) {
		for _, list := range []*[]byte{&c.PCKCRL, &c.RootCRL} {
			*list = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: *list})
		}
		c.TCBInfoChain = bytes.ReplaceAll(c.TCBInfoChain, []byte("\n"), []byte("\r\n"))
	}
	mustAccept(t, s.run(t))
}

// TestNewlyRevokedPlatformIsRefusedAlthoughItWasVerifiedBefore: what is kept of a
// platform doesn't outlive the list that revokes it.
func TestNewlyRevokedPlatformIsRefusedAlthoughItWasVerifiedBefore(t *testing.T) {
	s := newScene(t, 4, 2)
	raw, c := s.build(t)
	v := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert})
	mustAccept(t, v.Verify(tdx.Evidence{Quote: raw}, c, listed(), testTime))
	if v.Kept() != 1 {
		t.Fatalf("%d platforms are kept, expected 1", v.Kept())
	}
	s.collateral.RevokedPCK = append(s.collateral.RevokedPCK, s.platform.PCK.Cert.SerialNumber)
	newer := must(s.pki.Collateral(s.collateral))
	mustRefuse(t, v.Verify(tdx.Evidence{Quote: raw}, newer, listed(), testTime), "revocation")
	if v.Kept() != 0 {
		t.Errorf("%d platforms are kept, expected the revoked one to be dropped", v.Kept())
	}
}

func TestKeptPlatformEndsWithItsCertificate(t *testing.T) {
	s := newScene(t, 4, 2)
	raw, _ := s.build(t)
	v := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert})
	p := chainOnly()
	mustAccept(t, v.Verify(tdx.Evidence{Quote: raw}, nil, p, testTime))
	mustRefuse(t, v.Verify(tdx.Evidence{Quote: raw}, nil, p, testTime.AddDate(11, 0, 0)), "pck_validity")
	mustAccept(t, v.Verify(tdx.Evidence{Quote: raw}, nil, p, testTime))
}

func TestKeptPlatformsAreBounded(t *testing.T) {
	s := newScene(t, 4, 2)
	v := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert, Platforms: 2})
	for range 4 {
		s.platform = nil
		raw, _ := s.build(t)
		mustAccept(t, v.Verify(tdx.Evidence{Quote: raw}, nil, chainOnly(), testTime))
	}
	if v.Kept() != 2 {
		t.Errorf("%d platforms are kept, at most 2 expected", v.Kept())
	}
}

// TestWhatIsKeptGivesTheSameVerdict: a second verification must say what the
// first said, check by check.
func TestWhatIsKeptGivesTheSameVerdict(t *testing.T) {
	s := newScene(t, 5, 3)
	raw, c := s.build(t)
	v := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert})
	first := v.Verify(tdx.Evidence{Quote: raw}, c, listed(), testTime)
	second := v.Verify(tdx.Evidence{Quote: raw}, c, listed(), testTime)
	if !slices.Equal(first.Checks, second.Checks) {
		t.Errorf("checks are %v, and then %v", first.Checks, second.Checks)
	}
}

// TestUntrustedChainLeavesNothingBehind: what fails is not kept.
func TestUntrustedChainLeavesNothingBehind(t *testing.T) {
	s := newScene(t, 4, 2)
	raw, c := s.build(t)
	v := newVerifier(t, tdx.Config{}) // Intel's root
	for range 2 {
		if v.Verify(tdx.Evidence{Quote: raw}, c, listed(), testTime).Accepted {
			t.Fatal("a quote under a foreign root was accepted")
		}
	}
	if v.Kept() != 0 {
		t.Errorf("%d platforms are kept, expected none", v.Kept())
	}
}
