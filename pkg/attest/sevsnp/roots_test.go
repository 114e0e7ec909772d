package sevsnp_test

import (
	"bytes"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
)

func TestAMDRootsHaveBothIntermediatesOfEachProduct(t *testing.T) {
	roots := sevsnp.AMDRoots()
	if len(roots) != 3 {
		t.Fatalf("%d roots, want Milan, Genoa and Turin", len(roots))
	}
	for _, r := range roots {
		if len(r.Intermediates) != 2 || r.Simulated {
			t.Errorf("%s: %d intermediates, simulated %v; want ASK and ASVK", r.Certificate.Subject.CommonName, len(r.Intermediates), r.Simulated)
		}
	}
}

func TestOnlyTheGivenRootsAreTrusted(t *testing.T) {
	real := realEvidence(t)["milan, chain given"]
	v := newVerifier(t, newSigner(t, sevsnp.Milan).Roots())
	wantRefused(t, v.Verify(real.ev, simulated(), real.at), sevsnp.CheckSignatureChain)
	real.ev.Chain = nil
	wantRefused(t, v.Verify(real.ev, simulated(), real.at), sevsnp.CheckSignatureChain)
}

func TestNoRootsAreNotAMDsRoots(t *testing.T) {
	if _, err := sevsnp.NewVerifier(sevsnp.Config{Roots: []sevsnp.Root{}}); err == nil {
		t.Error("an empty list of roots was taken")
	}
	if _, err := sevsnp.NewVerifier(sevsnp.Config{Roots: []sevsnp.Root{{}}}); err == nil {
		t.Error("a root without a certificate was taken")
	}
}

func TestRootsAreParsedStrictly(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	ask := s.Roots()[0].Intermediates[0].Raw
	for name, b := range map[string][]byte{
		"nothing": nil, "no certificate": []byte("hello"), "an intermediate alone": ask,
		"another's intermediate": append(newSigner(t, sevsnp.Genoa).RootPEM(), s.Chain(sevsnp.VCEK)[:1200]...),
		"a VCEK":                 signed(t, sevsnp.Milan).VEK,
	} {
		if _, err := sevsnp.ParseRoots(b); err == nil {
			t.Errorf("%s was taken for roots", name)
		}
	}
}

// A process that is given the simulated root's certificate alone marks its evidence.
func TestASimulatedRootIsKnownByItsCertificate(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	roots, err := sevsnp.ParseRoots(s.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, roots)
	ev := signed(t, sevsnp.Milan)
	wantRefused(t, v.Verify(ev, look(), noon), sevsnp.CheckSimulated)
	wantAccepted(t, v.Verify(ev, simulated(), noon))
}

func TestASignerSurvivesItsProcess(t *testing.T) {
	s := newSigner(t, sevsnp.Turin)
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := sevsnptest.ParseSigner(b)
	if err != nil {
		t.Fatal(err)
	}
	if again.Product() != sevsnp.Turin || !bytes.Equal(again.RootPEM(), s.RootPEM()) {
		t.Error("the signer read back has another root")
	}
	ev, err := again.Sign(again.Report())
	if err != nil {
		t.Fatal(err)
	}
	wantAccepted(t, newVerifier(t, s.Roots()).Verify(ev, simulated(), noon))
	for _, cut := range []int{0, 10, len(b) / 2, len(b) - 40} {
		if _, err := sevsnptest.ParseSigner(b[:cut]); err == nil {
			t.Errorf("a signer cut at %d was read", cut)
		}
	}
}

func TestPEMMayHaveWhiteSpaceAndOtherLineEnds(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	ev := signed(t, sevsnp.Milan)
	ev.Chain = append([]byte("\r\n"), append(bytes.ReplaceAll(ev.Chain, []byte("\n"), []byte("\r\n")), "\r\n\r\n"...)...)
	wantAccepted(t, newVerifier(t, s.Roots()).Verify(ev, simulated(), noon))
	roots := s.Roots()[0]
	ev.Chain = append(bytes.Clone(roots.Intermediates[0].Raw), roots.Certificate.Raw...) // DER
	wantAccepted(t, newVerifier(t, s.Roots()).Verify(ev, simulated(), noon))
}
