package sevsnp_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
)

// hostile is evidence that is wrong in one thing.
type hostile struct {
	name    string
	product sevsnp.Product
	// report changes the good report's fields; raw and signed its bytes before and
	// after the signature; vek the certificate; evidence and policy the rest.
	report   func(*sevsnp.Report)
	raw      func([]byte)
	signed   func([]byte)
	vek      func(*x509.Certificate)
	evidence func(*testing.T, *sevsnptest.Signer, *sevsnp.Evidence)
	policy   func(*sevsnp.Policy)
	at       time.Time
	check    string
}

func setExt(value []byte, arc ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for i, e := range c.ExtraExtensions {
			if e.Id.Equal(sevsnptest.OID(arc...)) {
				c.ExtraExtensions[i].Value = value
				return
			}
		}
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: sevsnptest.OID(arc...), Value: value})
	}
}

func dropExt(arc ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for i, e := range c.ExtraExtensions {
			if e.Id.Equal(sevsnptest.OID(arc...)) {
				c.ExtraExtensions = append(c.ExtraExtensions[:i:i], c.ExtraExtensions[i+1:]...)
				return
			}
		}
	}
}

func digest(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

var hostileReports = []hostile{
	{name: "a byte short", signed: nil, evidence: func(_ *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) { ev.Report = ev.Report[:1183] }, check: "report_format"},
	{name: "a byte long", evidence: func(_ *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) { ev.Report = append(ev.Report, 0) }, check: "report_format"},
	{name: "reserved byte after the signer info", raw: func(b []byte) { b[0x4D] = 1 }, check: "report_format"},
	{name: "reserved byte before the chip id", raw: func(b []byte) { b[0x19F] = 1 }, check: "report_format"},
	{name: "reserved byte after the signature", signed: func(b []byte) { b[0x49F] = 1 }, check: "report_format"},
	{name: "mitigations in a version 4 report", report: func(r *sevsnp.Report) { r.Version = 4 }, raw: func(b []byte) { b[0x1F8] = 1 }, check: "report_format"},
	{name: "a CPU in a version 2 report", report: func(r *sevsnp.Report) { r.Version = 2 }, check: "report_format"},
	{name: "guest policy without its constant bit", report: func(r *sevsnp.Report) { r.Policy = 1 << 16 }, check: "report_format"},
	{name: "guest policy with a reserved bit", report: func(r *sevsnp.Report) { r.Policy |= 1 << 26 }, check: "report_format"},
	{name: "signer info with a reserved bit", report: func(r *sevsnp.Report) { r.Signer |= 1 << 5 }, check: "report_format"},
	{name: "version 1", report: func(r *sevsnp.Report) { r.Version = 1 }, check: "report_version"},
	{name: "version 6", report: func(r *sevsnp.Report) { r.Version = 6 }, check: "report_version"},
	{name: "version below the policy's", report: func(r *sevsnp.Report) { r.Version = 3 }, policy: func(p *sevsnp.Policy) { p.MinimumReportVersion = 5 }, check: "report_version"},
	{name: "not signed", raw: func(b []byte) { b[0x48] = 7 << 2 }, check: "report_signer"},
	{name: "a reserved signing key", raw: func(b []byte) { b[0x48] = 2 << 2 }, check: "report_signer"},
	{name: "another signature algorithm", report: func(r *sevsnp.Report) { r.SignatureAlgo = 2 }, check: "report_signer"},
	{name: "a VCEK where a VLEK is wanted", policy: func(p *sevsnp.Policy) { p.Signers = []string{"VLEK"} }, check: "report_signer"},
	{name: "says VLEK, comes with a VCEK", raw: func(b []byte) { b[0x48] = 1 << 2 }, check: "certificate_format"},
	{name: "another product's CPU", report: func(r *sevsnp.Report) { r.Model = 0x11 }, check: "product"},
	{name: "an unknown CPU", report: func(r *sevsnp.Report) { r.Family = 0x17 }, check: "product"},
	{name: "a product that the policy doesn't name", policy: func(p *sevsnp.Policy) { p.Products = []string{"Genoa", "Turin"} }, check: "product"},
	{name: "measurement changed after signing", signed: func(b []byte) { b[0x90] ^= 1 }, check: "report_signature"},
	{name: "signature of zeros", signed: func(b []byte) { clear(b[0x2A0:0x330]) }, check: "report_signature"},
	{name: "signature component longer than the curve", signed: func(b []byte) { b[0x2A0+48] = 1 }, check: "report_signature"},
	{name: "r as large as the order", signed: func(b []byte) { copy(b[0x2A0:], digest(48, 0xff)) }, check: "report_signature"},
	{name: "asked for by the host", report: func(r *sevsnp.Report) { r.VMPL = 0xFFFFFFFF }, check: "vmpl"},
	{name: "level 4", report: func(r *sevsnp.Report) { r.VMPL = 4 }, check: "vmpl"},
	{name: "a level that isn't wanted", report: func(r *sevsnp.Report) { r.VMPL = 2 }, policy: func(p *sevsnp.Policy) { p.VMPL = new(uint32) }, check: "vmpl"},
	{name: "debugging on", report: func(r *sevsnp.Report) { r.Policy |= sevsnp.PolicyDebug }, check: "debug_off"},
	{name: "a migration agent", report: func(r *sevsnp.Report) { r.Policy |= sevsnp.PolicyMigrationAgent }, check: "migration_agent_off"},
	{name: "SMT allowed", policy: func(p *sevsnp.Policy) { p.AllowSMT = new(bool) }, check: "smt"},
	{name: "more than one socket", policy: func(p *sevsnp.Policy) { p.GuestPolicyRequires = []string{"single_socket"} }, check: "guest_policy"},
	{name: "platform without ciphertext hiding", policy: func(p *sevsnp.Policy) { p.PlatformRequires = []string{"ecc", "ciphertext_hiding"} }, check: "platform_info"},
	{name: "microcode below the floor", policy: func(p *sevsnp.Policy) { p.MinimumTCB = &sevsnp.TCB{Microcode: 214} }, check: "tcb_floor"},
	{name: "committed TCB below the floor", report: func(r *sevsnp.Report) { r.CommittedTCB[6] = 1 }, policy: func(p *sevsnp.Policy) { p.MinimumCommittedTCB = &sevsnp.TCB{SNP: 22} }, check: "committed_tcb_floor"},
	{name: "launched below the floor", report: func(r *sevsnp.Report) { r.LaunchTCB[0] = 1 }, policy: func(p *sevsnp.Policy) { p.MinimumLaunchTCB = &sevsnp.TCB{Bootloader: 4} }, check: "launch_tcb_floor"},
	{name: "guest's security version too low", policy: func(p *sevsnp.Policy) { p.MinimumGuestSVN = 1 }, check: "guest_svn"},
	{name: "another measurement", policy: func(p *sevsnp.Policy) { p.Measurement = sevsnp.OneOf(digest(48, 1), digest(48, 2)) }, check: "measurement"},
	{name: "another host data", policy: func(p *sevsnp.Policy) { p.HostData = sevsnp.OneOf(digest(32, 1)) }, check: "host_data"},
	{name: "another report data", policy: func(p *sevsnp.Policy) { p.ReportData = sevsnp.OneOf(digest(64, 1)) }, check: "report_data"},
	{name: "another id key", policy: func(p *sevsnp.Policy) { p.IDKeyDigest = sevsnp.OneOf(digest(48, 1)) }, check: "id_key_digest"},
	{name: "no author key", policy: func(p *sevsnp.Policy) { p.AuthorKeyDigest = sevsnp.OneOf(digest(48, 0)) }, check: "author_key_digest"},
	{name: "another author key", report: func(r *sevsnp.Report) { r.Signer |= 1 }, policy: func(p *sevsnp.Policy) { p.AuthorKeyDigest = sevsnp.OneOf(digest(48, 1)) }, check: "author_key_digest"},
	{name: "another family", policy: func(p *sevsnp.Policy) { p.FamilyID = sevsnp.OneOf(digest(16, 1)) }, check: "family_id"},
	{name: "another image", policy: func(p *sevsnp.Policy) { p.ImageID = sevsnp.OneOf(digest(16, 1)) }, check: "image_id"},
	{name: "a chip that isn't listed", policy: func(p *sevsnp.Policy) { p.ChipIDs = sevsnp.OneOf(digest(64, 1)) }, check: "chip_id"},
	{name: "no provider where one is wanted", policy: func(p *sevsnp.Policy) { p.CSPIDs = []string{"CN=cloud"} }, check: "csp_id"},
	{name: "a strict policy without a measurement", policy: func(p *sevsnp.Policy) {
		*p = *anything()
		p.Measurement = sevsnp.Pin{}
	}, check: "measurement"},
}

func ended(c *x509.Certificate)    { c.NotAfter = noon.Add(-time.Second) }
func notBegun(c *x509.Certificate) { c.NotBefore = noon.Add(time.Second) }

var hostileCertificates = []hostile{
	{name: "TCB raised after the key was endorsed", raw: func(b []byte) { b[0x187]++ }, check: "certificate_extensions"},
	{name: "SPL of another TCB", vek: setExt([]byte{2, 1, 3}, 3, 1), check: "certificate_extensions"},
	{name: "Turin's FMC of another TCB", product: sevsnp.Turin, vek: setExt([]byte{2, 1, 0}, 3, 9), check: "certificate_extensions"},
	{name: "another chip", vek: setExt(digest(64, 9), 4), check: "certificate_extensions"},
	{name: "another chip of Turin", product: sevsnp.Turin, vek: setExt(digest(8, 9), 4), check: "certificate_extensions"},
	{name: "chip id longer than Turin's", product: sevsnp.Turin, raw: func(b []byte) { b[0x1A8] = 1 }, check: "certificate_extensions"},
	{name: "chip id masked", raw: func(b []byte) { clear(b[0x1A0:0x1E0]) }, check: "certificate_extensions"},
	{name: "Turin's certificate with a chip id of Milan's size", product: sevsnp.Turin, vek: setExt(digest(64, 9), 4), check: "certificate_format"},
	{name: "Turin's certificate without FMC", product: sevsnp.Turin, vek: dropExt(3, 9), check: "certificate_format"},
	{name: "Milan's certificate with an FMC", vek: setExt([]byte{2, 1, 1}, 3, 9), check: "certificate_format"},
	{name: "no chip id", vek: dropExt(4), check: "certificate_format"},
	{name: "no microcode level", vek: dropExt(3, 8), check: "certificate_format"},
	{name: "level beyond a byte", vek: setExt([]byte{2, 2, 1, 0}, 3, 8), check: "certificate_format"},
	{name: "level that isn't DER", vek: setExt([]byte{2, 2, 0, 1}, 3, 8), check: "certificate_format"},
	{name: "bytes after a level", vek: setExt([]byte{2, 1, 213, 0}, 3, 8), check: "certificate_format"},
	{name: "negative level", vek: setExt([]byte{2, 1, 0x80}, 3, 8), check: "certificate_format"},
	{name: "a level that nobody knows", vek: setExt([]byte{2, 1, 0}, 3, 10), check: "certificate_format"},
	{name: "an extension of AMD's that nobody knows", vek: setExt([]byte{2, 1, 0}, 7), check: "certificate_format"},
	{name: "an unknown product", vek: setExt([]byte{0x16, 4, 'R', 'o', 'm', 'e'}, 2), check: "certificate_format"},
	{name: "a product that isn't IA5", vek: setExt([]byte{0x0C, 5, 'M', 'i', 'l', 'a', 'n'}, 2), check: "certificate_format"},
	{name: "VCEK with a provider", vek: setExt([]byte{0x16, 1, 'x'}, 5), check: "certificate_format"},
	{name: "unknown critical extension", vek: func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
	}, check: "certificate_format"},
	{name: "another product than the root's", vek: setExt([]byte{0x16, 5, 'G', 'e', 'n', 'o', 'a'}, 2), check: "signature_chain"},
	{name: "named otherwise", vek: func(c *x509.Certificate) { c.Subject.CommonName = "SEV-VLEK" }, check: "certificate_format"},
	{name: "certificate ended", vek: ended, check: "certificate_validity"},
	{name: "certificate not yet valid", vek: notBegun, check: "certificate_validity"},
	{name: "before the root's time", at: born.Add(-time.Hour), check: "certificate_validity"},
	{name: "no certificate", evidence: func(_ *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) { ev.VEK = nil }, check: "certificate_format"},
	{name: "two certificates", evidence: func(_ *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) { ev.VEK = append(ev.VEK, ev.VEK...) }, check: "certificate_format"},
	{name: "text in the PEM", evidence: func(_ *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) {
		ev.Chain = append(bytes.Clone(ev.Chain), "trust me\n"...)
	}, check: "certificate_format"},
	{name: "a key of another curve", evidence: otherCurve, check: "certificate_format"},
	{name: "the same names under another root", evidence: otherRoot, check: "signature_chain"},
	{name: "another root's chain", evidence: func(t *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) {
		ev.Chain = newSigner(t, sevsnp.Genoa).Chain(sevsnp.VCEK)
	}, check: "signature_chain"},
	{name: "the ASVK in place of the ASK", evidence: func(_ *testing.T, s *sevsnptest.Signer, ev *sevsnp.Evidence) {
		ev.Chain = s.Chain(sevsnp.VLEK)
	}, check: "signature_chain"},
	{name: "certificate changed", evidence: func(_ *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) {
		ev.VEK = bytes.Clone(ev.VEK)
		ev.VEK[len(ev.VEK)-1] ^= 1
	}, check: "signature_chain"},
}

func otherCurve(t *testing.T, s *sevsnptest.Signer, ev *sevsnp.Evidence) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(ev.VEK)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range cert.Extensions {
		if len(e.Id) > 7 {
			cert.ExtraExtensions = append(cert.ExtraExtensions, e)
		}
	}
	cert.SignatureAlgorithm = x509.ECDSAWithSHA256
	cert.PublicKey = nil
	// Self-signed: its format is refused before its issuer is asked.
	if ev.VEK, err = x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key); err != nil {
		t.Fatal(err)
	}
}

func otherRoot(t *testing.T, s *sevsnptest.Signer, ev *sevsnp.Evidence) {
	forger, err := sevsnptest.NewSigner(s.Product(), born)
	if err != nil {
		t.Fatal(err)
	}
	*ev, err = forger.Sign(forger.Report())
	if err != nil {
		t.Fatal(err)
	}
}

func withCRL(from, to time.Time, serials ...int64) func(*testing.T, *sevsnptest.Signer, *sevsnp.Evidence) {
	return func(t *testing.T, s *sevsnptest.Signer, ev *sevsnp.Evidence) {
		crl, err := s.CRL(from, to, serials...)
		if err != nil {
			t.Fatal(err)
		}
		ev.CRL = crl
	}
}

var hostileRevocation = []hostile{
	{name: "ASK revoked", evidence: withCRL(born, noon.AddDate(1, 0, 0), 2), check: "revocation"},
	{name: "root revoked", evidence: withCRL(born, noon.AddDate(1, 0, 0), 1), check: "revocation"},
	{name: "list ended", evidence: withCRL(born, noon.Add(-time.Minute)), check: "revocation"},
	{name: "list not yet valid", evidence: withCRL(noon.Add(time.Minute), noon.AddDate(1, 0, 0)), check: "revocation"},
	{name: "no list where one is wanted", policy: func(p *sevsnp.Policy) { yes := true; p.RequireCRL = &yes }, check: "revocation"},
	{name: "list changed", evidence: func(t *testing.T, s *sevsnptest.Signer, ev *sevsnp.Evidence) {
		withCRL(born, noon.AddDate(1, 0, 0))(t, s, ev)
		ev.CRL[len(ev.CRL)-1] ^= 1
	}, check: "revocation"},
	{name: "bytes after the list", evidence: func(t *testing.T, s *sevsnptest.Signer, ev *sevsnp.Evidence) {
		withCRL(born, noon.AddDate(1, 0, 0))(t, s, ev)
		ev.CRL = append(ev.CRL, 0)
	}, check: "revocation"},
	{name: "list of another root", evidence: func(t *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) {
		withCRL(born, noon.AddDate(1, 0, 0))(t, newSigner(t, sevsnp.Genoa), ev)
	}, check: "revocation"},
	{name: "not a list", evidence: func(_ *testing.T, _ *sevsnptest.Signer, ev *sevsnp.Evidence) { ev.CRL = ev.VEK }, check: "revocation"},
}

func (h hostile) evidenceFor(t *testing.T, s *sevsnptest.Signer) sevsnp.Evidence {
	t.Helper()
	r := s.Report()
	if h.report != nil {
		h.report(r)
	}
	ev, err := s.SignVariant(r, sevsnptest.Variant{VEK: h.vek, Report: h.raw, Signed: h.signed})
	if err != nil {
		t.Fatal(err)
	}
	if h.evidence != nil {
		h.evidence(t, s, &ev)
	}
	return ev
}

// Each piece of evidence is wrong in one thing and is refused for that thing, and for
// nothing else; the same without the change is accepted.
func TestHostileEvidenceIsRefusedByName(t *testing.T) {
	all := append(append(append([]hostile(nil), hostileReports...), hostileCertificates...), hostileRevocation...)
	t.Logf("%d cases", len(all))
	for _, h := range all {
		t.Run(h.name, func(t *testing.T) {
			if h.product == sevsnp.ProductUnknown {
				h.product = sevsnp.Milan
			}
			s := newSigner(t, h.product)
			v := newVerifier(t, s.Roots())
			if h.at.IsZero() {
				h.at = noon
			}
			good := hostile{}
			wantAccepted(t, v.Verify(good.evidenceFor(t, s), simulated(), noon))
			p := simulated()
			if h.policy != nil {
				h.policy(p)
			}
			wantRefused(t, v.Verify(h.evidenceFor(t, s), p, h.at), h.check)
		})
	}
}

func TestNothingIsComparedBeforeTheSignature(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	h := hostile{signed: func(b []byte) { b[0x90] ^= 1 }}
	p := simulated()
	p.Measurement = sevsnp.OneOf(digest(48, 1))
	got := newVerifier(t, s.Roots()).Verify(h.evidenceFor(t, s), p, noon)
	wantRefused(t, got, sevsnp.CheckReportSignature)
	if len(got.Claims) != 0 {
		t.Errorf("claims %v of a report that isn't authentic, want none", got.Claims)
	}
}

func TestAnotherValidSignatureOfTheSameReportIsAccepted(t *testing.T) {
	// (r, n-s) verifies as well as (r, s): a report's bytes are no identity.
	s := newSigner(t, sevsnp.Milan)
	h := hostile{signed: func(b []byte) {
		part := b[0x2A0+72 : 0x2A0+72+48]
		rev := func() {
			for i, j := 0, len(part)-1; i < j; i, j = i+1, j-1 {
				part[i], part[j] = part[j], part[i]
			}
		}
		rev()
		n := new(big.Int).Sub(elliptic.P384().Params().N, new(big.Int).SetBytes(part))
		n.FillBytes(part)
		rev()
	}}
	wantAccepted(t, newVerifier(t, s.Roots()).Verify(h.evidenceFor(t, s), simulated(), noon))
}
