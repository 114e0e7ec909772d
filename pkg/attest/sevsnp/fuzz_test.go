package sevsnp_test

import (
	"bytes"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

func FuzzParseReport(f *testing.F) {
	s := newSigner(f, sevsnp.Turin)
	for v := uint32(2); v <= 5; v++ {
		r := s.Report()
		r.Version = v
		f.Add(r.Marshal())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := sevsnp.ParseReport(b)
		if err != nil {
			return
		}
		// What was read is all there is: writing it back gives the signed part.
		if !bytes.Equal(r.Marshal()[:0x2A0], b[:0x2A0]) {
			t.Error("a parsed report, written back, differs")
		}
	})
}

// Certificates, chain and list are hostile: whatever they are, no panic, and nothing
// but the genuine ones is accepted.
func FuzzVerifyCertificates(f *testing.F) {
	s := newSigner(f, sevsnp.Turin)
	good, err := s.Sign(s.Report())
	if err != nil {
		f.Fatal(err)
	}
	crl, err := s.CRL(born, noon.AddDate(1, 0, 0))
	if err != nil {
		f.Fatal(err)
	}
	v := newVerifier(f, s.Roots())
	f.Add(good.VEK, good.Chain, crl)
	f.Add(good.VEK, []byte{}, []byte{})
	f.Add(s.RootPEM(), good.VEK, good.VEK)
	f.Fuzz(func(t *testing.T, vek, chain, list []byte) {
		got := v.Verify(sevsnp.Evidence{Report: good.Report, VEK: vek, Chain: chain, CRL: list}, simulated(), noon)
		if got.Accepted && !bytes.Contains(vek, good.VEK) && !bytes.HasPrefix(bytes.TrimSpace(vek), []byte("-----BEGIN")) {
			t.Errorf("accepted with another certificate: %x", vek)
		}
	})
}

func FuzzParseRoots(f *testing.F) {
	s := newSigner(f, sevsnp.Milan)
	f.Add(s.RootPEM())
	f.Add(append(s.Chain(sevsnp.VCEK), s.Chain(sevsnp.VLEK)...))
	f.Add(s.Roots()[0].Certificate.Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		roots, err := sevsnp.ParseRoots(b)
		if err == nil && len(roots) == 0 {
			t.Error("no roots, and no error")
		}
	})
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("measurement: any\nminimum_tcb: {snp: 1}\n"))
	f.Add([]byte("measurement: [" + hexOf(48, 1) + "]\nsigners: [VCEK]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := sevsnp.ParsePolicy(b)
		if err != nil {
			return
		}
		if p.PermitUnpinned {
			t.Error("a file permits what no file may")
		}
		if err := p.Validate(); err != nil {
			t.Errorf("read a policy that doesn't validate: %v", err)
		}
	})
}
