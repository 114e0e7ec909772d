package sevsnp_test

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"testing"

	"github.com/google/go-sev-guest/abi"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// The benchmarks run side by side: the floor of one P-384 signature, our verifier
// with the chain cached and not, and go-sev-guest, on the same real evidence.

func BenchmarkFloorP384(b *testing.B) {
	c := realEvidence(b)["milan, chain given"]
	cert, err := x509.ParseCertificate(c.ev.VEK)
	if err != nil {
		b.Fatal(err)
	}
	der, err := abi.ReportToSignatureDER(c.ev.Report)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha512.Sum384(c.ev.Report[:0x2A0])
	key := cert.PublicKey.(*ecdsa.PublicKey)
	b.ReportAllocs()
	for b.Loop() {
		if !ecdsa.VerifyASN1(key, sum[:], der) {
			b.Fatal("bad signature")
		}
	}
}

func benchVerify(b *testing.B, cache int) {
	c := realEvidence(b)["milan, chain given"]
	v, err := sevsnp.NewVerifier(sevsnp.Config{CacheSize: cache})
	if err != nil {
		b.Fatal(err)
	}
	p := look()
	b.ReportAllocs()
	for b.Loop() {
		if got := v.Verify(c.ev, p, c.at); !got.Accepted {
			b.Fatal(got.Err())
		}
	}
}

func BenchmarkVerifyCached(b *testing.B) { benchVerify(b, 0) }

func BenchmarkVerifyCold(b *testing.B) { benchVerify(b, -1) }

func BenchmarkGoSevGuest(b *testing.B) {
	c := realEvidence(b)["milan, chain given"]
	roots := sevsnp.AMDRoots()
	b.ReportAllocs()
	for b.Loop() {
		if err := theirs(c.ev, roots, c.at); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyParallel gives verdicts per second on all cores.
func BenchmarkVerifyParallel(b *testing.B) {
	c := realEvidence(b)["milan, chain given"]
	v := newVerifier(b, nil)
	p := look()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v.Verify(c.ev, p, c.at)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verdicts/s")
}
