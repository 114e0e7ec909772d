package tdx_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// benchScene is evidence that both verifiers accept with collateral and lists.
func benchScene(b *testing.B) (*scene, []byte, *tdx.Collateral) {
	s := newScene(b, 4, 2)
	s.collateral.TCBInfo["fmspc"] = "b0c06f000000"
	raw, c := s.build(b)
	return s, raw, c
}

func accept(b *testing.B, v *tdx.Verifier, raw []byte, c *tdx.Collateral, p tdx.Policy) {
	if verdict := v.Verify(tdx.Evidence{Quote: raw}, c, p, testTime); !verdict.Accepted {
		b.Fatal(verdict.Err())
	}
}

// BenchmarkVerify compares, on the same evidence and in one run, go-tdx-guest
// v0.3.1 with this verifier: with nothing kept, with the collateral kept and the
// platform new, with the PCK chain kept and the attestation key new, and with the
// platform known, as in every attestation after the first.
func BenchmarkVerify(b *testing.B) {
	s, raw, c := benchScene(b)
	cfg := tdx.Config{Root: s.pki.Root.Cert}
	b.Run("go-tdx-guest", func(b *testing.B) {
		getter, pool := pcsGetter(c, "b0c06f000000"), rootPool(s)
		b.ReportAllocs()
		for b.Loop() {
			if err, _ := guestVerify(raw, getter, pool, testTime); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			accept(b, newVerifier(b, cfg), raw, c, s.policy)
		}
	})
	b.Run("collateral kept, platform new", func(b *testing.B) {
		v := newVerifier(b, cfg)
		accept(b, v, raw, c, s.policy)
		b.ReportAllocs()
		for b.Loop() {
			v.ForgetPlatforms()
			accept(b, v, raw, c, s.policy)
		}
	})
	b.Run("chain kept, attestation key new", func(b *testing.B) {
		v := newVerifier(b, cfg)
		accept(b, v, raw, c, s.policy)
		b.ReportAllocs()
		for b.Loop() {
			v.ForgetCertifications()
			accept(b, v, raw, c, s.policy)
		}
	})
	b.Run("kept", func(b *testing.B) {
		v := newVerifier(b, cfg)
		accept(b, v, raw, c, s.policy)
		b.ReportAllocs()
		for b.Loop() {
			accept(b, v, raw, c, s.policy)
		}
	})
	b.Run("kept, all processors", func(b *testing.B) {
		v := newVerifier(b, cfg)
		accept(b, v, raw, c, s.policy)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				accept(b, v, raw, c, s.policy)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verdicts/s")
	})
}

// BenchmarkOverBaselines takes turns between one P-256 verification, go-tdx-guest and a verdict on a known
// platform, so that all see the same machine, and gives the ratios of the tenth quickest: the slower ones waited for a busy machine.
func BenchmarkOverBaselines(b *testing.B) {
	s, raw, c := benchScene(b)
	v := newVerifier(b, tdx.Config{Root: s.pki.Root.Cert})
	getter, pool := pcsGetter(c, "b0c06f000000"), rootPool(s)
	steps := [3]func(){
		bareP256(b),
		func() {
			if err, _ := guestVerify(raw, getter, pool, testTime); err != nil {
				b.Fatal(err)
			}
		},
		func() { accept(b, v, raw, c, s.policy) },
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
	b.ReportMetric(quick[1]/quick[2], "x-faster-than-go-tdx-guest")
}

// BenchmarkFloor is one P-256 verification, below which no quote can be verified.
func BenchmarkFloor(b *testing.B) {
	bare := bareP256(b)
	b.ReportAllocs()
	for b.Loop() {
		bare()
	}
}

func bareP256(b *testing.B) func() {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	sum := sha256.Sum256([]byte("floor"))
	sig := must(ecdsa.SignASN1(rand.Reader, key, sum[:]))
	return func() {
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) {
			b.Fatal("the signature doesn't verify")
		}
	}
}

// BenchmarkMemory measures what one kept platform and one kept set of collateral take.
func BenchmarkMemory(b *testing.B) {
	s := newScene(b, 4, 2)
	v := newVerifier(b, tdx.Config{Root: s.pki.Root.Cert, Platforms: 1 << 20})
	quotes := make([][]byte, 200)
	for i := range quotes {
		quotes[i] = must(must(s.pki.NewPlatform(tdxtest.DefaultExtensions())).Quote(s.quote))
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	p := chainOnly()
	kept := make([]*tdx.Verifier, 0, 100)
	each := func(c *tdx.Collateral, p tdx.Policy) float64 {
		before := heap()
		for range cap(kept) / 2 {
			v := newVerifier(b, tdx.Config{Root: s.pki.Root.Cert})
			accept(b, v, quotes[0], c, p)
			kept = append(kept, v)
		}
		return float64(heap()-before) / float64(cap(kept)/2)
	}
	without, with := each(nil, p), each(must(s.pki.Collateral(s.collateral)), listed())
	before := heap()
	for _, q := range quotes {
		accept(b, v, q, nil, p)
	}
	after := heap()
	for b.Loop() {
		accept(b, v, quotes[0], nil, p)
	}
	b.ReportMetric(float64(after-before)/float64(len(quotes)), "B/platform")
	b.ReportMetric(with-without, "B/collateral")
	runtime.KeepAlive(kept)
}
