package sevsnp_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	mathrand "math/rand"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// theirs verifies evidence with go-sev-guest, set up as it must be: trusted roots and
// time given, fetching off, the certificate in the chain.
func theirs(ev sevsnp.Evidence, roots []sevsnp.Root, at time.Time) error {
	report, err := abi.ReportToProto(ev.Report)
	if err != nil {
		return err
	}
	if len(ev.Report) != abi.ReportSize {
		return fmt.Errorf("report of %d bytes", len(ev.Report))
	}
	chain := &spb.CertificateChain{VcekCert: ev.VEK}
	if report.SignerInfo>>2&7 == 1 {
		chain = &spb.CertificateChain{VlekCert: ev.VEK}
	}
	opts := &verify.Options{DisableCertFetching: true, Now: at, TrustedRoots: theirRoots(roots)}
	return verify.SnpAttestation(&spb.Attestation{Report: report, CertificateChain: chain}, opts)
}

func theirRoots(roots []sevsnp.Root) map[string][]*trust.AMDRootCerts {
	out := map[string][]*trust.AMDRootCerts{}
	for _, r := range roots {
		line := r.Certificate.Subject.CommonName[len("ARK-"):]
		c := trust.AMDRootCertsProduct(line)
		c.ProductCerts = &trust.ProductCerts{Ark: r.Certificate}
		for _, m := range r.Intermediates {
			if m.Subject.CommonName == "SEV-VLEK-"+line {
				c.ProductCerts.Asvk = m
			} else {
				c.ProductCerts.Ask = m
			}
		}
		out[line] = append(out[line], c)
	}
	return out
}

func TestRealEvidenceGetsTheSameAnswerFromGoSevGuest(t *testing.T) {
	v := newVerifier(t, nil)
	for name, c := range realEvidence(t) {
		for _, at := range []string{"2023-01-01", "2024-12-01", "2025-06-01", "2026-11-01", "2029-12-31", "2031-01-01"} {
			c.ev.Chain = nil // go-sev-guest takes the roots' own
			ours := v.Verify(c.ev, look(), day(t, at)).Err()
			their := theirs(c.ev, sevsnp.AMDRoots(), day(t, at))
			if (ours == nil) != (their == nil) {
				t.Errorf("%s at %s: we say %v, go-sev-guest says %v", name, at, ours, their)
			}
		}
	}
}

// What we accept of spoilt synthetic evidence, go-sev-guest accepts too, for Milan
// and Genoa. The reverse doesn't hold: it compares neither TCB nor chip id with the
// certificate here, and no policy.
func TestGoSevGuestRefusesNothingThatWeAccept(t *testing.T) {
	rnd := mathrand.New(mathrand.NewSource(1))
	rounds := 400
	if raceOn {
		rounds = 60
	}
	accepted := 0
	for _, p := range []sevsnp.Product{sevsnp.Milan, sevsnp.Genoa} {
		s := newSigner(t, p)
		v := newVerifier(t, s.Roots())
		for _, kind := range []sevsnp.KeyKind{sevsnp.VCEK, sevsnp.VLEK} {
			r := s.Report()
			r.Signer = sevsnp.SignerInfo(kind) << 2
			good, err := s.Sign(r)
			if err != nil {
				t.Fatal(err)
			}
			good.Chain = nil
			for i := range rounds / 4 {
				ev := good
				if i > 0 {
					ev = spoil(rnd, good)
				}
				ours := v.Verify(ev, simulated(), noon)
				if !ours.Accepted {
					continue
				}
				accepted++
				if err := theirs(ev, s.Roots(), noon); err != nil {
					t.Errorf("%v %v: accepted by us, refused by go-sev-guest: %v", p, kind, err)
				}
			}
		}
	}
	if accepted < 4 {
		t.Errorf("only %d accepted: the comparison says nothing", accepted)
	}
}

func spoil(rnd *mathrand.Rand, ev sevsnp.Evidence) sevsnp.Evidence {
	doc := &ev.Report
	if rnd.Intn(3) == 0 {
		doc = &ev.VEK
	}
	*doc = bytes.Clone(*doc)
	(*doc)[rnd.Intn(len(*doc))] ^= 1 << rnd.Intn(8)
	return ev
}

// Parsing agrees field by field with go-sev-guest's.
func TestReportsAreParsedAsByGoSevGuest(t *testing.T) {
	for name, c := range realEvidence(t) {
		ours, err := sevsnp.ParseReport(c.ev.Report)
		if err != nil {
			t.Fatal(err)
		}
		their, err := abi.ReportToProto(c.ev.Report)
		if err != nil {
			t.Fatal(err)
		}
		for field, same := range map[string]bool{
			"version": ours.Version == their.Version, "guest svn": ours.GuestSVN == their.GuestSvn,
			"policy": uint64(ours.Policy) == their.Policy, "vmpl": ours.VMPL == their.Vmpl,
			"platform info": uint64(ours.PlatformInfo) == their.PlatformInfo, "signer info": uint32(ours.Signer) == their.SignerInfo,
			"report data": bytes.Equal(ours.ReportData[:], their.ReportData), "measurement": bytes.Equal(ours.Measurement[:], their.Measurement),
			"host data": bytes.Equal(ours.HostData[:], their.HostData), "id key": bytes.Equal(ours.IDKeyDigest[:], their.IdKeyDigest),
			"author key": bytes.Equal(ours.AuthorKeyDigest[:], their.AuthorKeyDigest), "report id": bytes.Equal(ours.ReportID[:], their.ReportId),
			"report id ma": bytes.Equal(ours.ReportIDMA[:], their.ReportIdMa), "chip id": bytes.Equal(ours.ChipID[:], their.ChipId),
			"family id": bytes.Equal(ours.FamilyID[:], their.FamilyId), "image id": bytes.Equal(ours.ImageID[:], their.ImageId),
			"cpuid":    abi.FmsToCpuid1Eax(ours.Family, ours.Model, ours.Stepping) == their.Cpuid1EaxFms || ours.Version < 3,
			"firmware": uint32(ours.Current.Build) == their.CurrentBuild && uint32(ours.Committed.Minor) == their.CommittedMinor,
		} {
			if !same {
				t.Errorf("%s: %s differs", name, field)
			}
		}
		raw := ours.Marshal()
		if !bytes.Equal(raw[:0x2A0], c.ev.Report[:0x2A0]) {
			t.Errorf("%s: written back, the signed part differs", name)
		}
	}
}

// A chain forged under the names of AMD is what go-sev-guest v0.14 took for real.
func TestAForgedAMDChainIsRefused(t *testing.T) {
	ev := signed(t, sevsnp.Milan) // simulated root named ARK-Milan, chain in the evidence
	wantRefused(t, newVerifier(t, nil).Verify(ev, simulated(), noon), sevsnp.CheckSignatureChain)
	if _, err := x509.ParseCertificate(ev.VEK); err != nil {
		t.Fatal(err)
	}
}
