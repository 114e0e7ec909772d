package sevsnp_test

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// The benchmarks run side by side: the floor of one P-384 signature, our verifier
// with the chain cached and not, and go-sev-guest, on the same real evidence.

func BenchmarkFloorP384(b *testing.B) {
	bare := bareP384(b)
	b.ReportAllocs()
	for b.Loop() {
		bare()
	}
}

// bareP384 returns one verification of the recorded report's signature.
func bareP384(b *testing.B) func() {
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
	return func() {
		if !ecdsa.VerifyASN1(key, sum[:], der) {
			b.Fatal("bad signature")
		}
	}
}

// BenchmarkOverBaselines takes turns between one P-384 verification, go-sev-guest and
// a verdict with the chain cached, so that all see the same machine, and gives the
// ratios of the tenth quickest: the slower ones waited for a busy machine.
func BenchmarkOverBaselines(b *testing.B) {
	c := realEvidence(b)["milan, chain given"]
	v, p, bare, roots := newVerifier(b, nil), look(), bareP384(b), sevsnp.AMDRoots()
	steps := [3]func(){
		bare,
		func() {
			if err := theirs(c.ev, roots, c.at); err != nil {
				b.Fatal(err)
			}
		},
		func() {
			if got := v.Verify(c.ev, p, c.at); !got.Accepted {
				b.Fatal(got.Err())
			}
		},
	}
	var took [3][]time.Duration
	for b.Loop() {
		for i, step := range steps {
			start := time.Now()
			step()
			took[i] = append(took[i], time.Since(start))
		}
	}
	var quick [3]float64
	for i := range took {
		slices.Sort(took[i])
		quick[i] = float64(took[i][len(took[i])/10])
	}
	b.ReportMetric(quick[2], "verdict-ns")
	b.ReportMetric(quick[2]/quick[0], "x-floor")
	b.ReportMetric(quick[1]/quick[2], "x-faster-than-go-sev-guest")
}

// BenchmarkMemory measures what a cached chain takes.
func BenchmarkMemory(b *testing.B) {
	const chains = 200
	s := newSigner(b, sevsnp.Milan)
	evidence := make([]sevsnp.Evidence, chains)
	for i := range evidence {
		var err error
		if evidence[i], err = s.Sign(s.Report()); err != nil { // each has a certificate of its own
			b.Fatal(err)
		}
	}
	v, p := newVerifier(b, s.Roots()), simulated()
	before := heap()
	for _, ev := range evidence {
		v.Verify(ev, p, noon)
	}
	after := heap()
	if n := v.CachedChains(); n != chains {
		b.Fatalf("%d chains are cached, want %d", n, chains)
	}
	for b.Loop() {
		v.Verify(evidence[0], p, noon)
	}
	b.ReportMetric(float64(after-before)/chains, "B/chain")
	runtime.KeepAlive(evidence)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
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
