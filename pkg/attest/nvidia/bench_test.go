package nvidia_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// BenchmarkVerify puts verdicts next to the one operation that no cache saves, a
// P-384 verification.
func BenchmarkVerify(b *testing.B) {
	b.Run("floor/P384", benchmarkP384)

	l := newLab(b)
	evidence, rims, responses := l.build()
	judge := func(v *nvidia.Verifier, rims *nvidia.RIMSet, responses *nvidia.OCSPSet, p nvidia.Policy) *attest.Verdict {
		return v.Verify(evidence, rims, responses, p, l.nonce, l.at)
	}
	open := l.policy
	open.PermitUnpinned = true
	for _, bc := range []struct {
		name      string
		rims      *nvidia.RIMSet
		responses *nvidia.OCSPSet
		cold      bool
	}{
		{"cached/chain", nil, nil, false},
		{"cached/chain+RIMs", rims, nil, false},
		{"cached/chain+RIMs+OCSP", rims, responses, false},
		{"cold/chain", nil, nil, true},
		{"cold/chain+RIMs", rims, nil, true},
		{"cold/chain+RIMs+OCSP", rims, responses, true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			v := newVerifier(b, l.pki.Config())
			if err := judge(v, bc.rims, bc.responses, open).Err(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if bc.cold {
					v = newVerifier(b, l.pki.Config())
				}
				if !judge(v, bc.rims, bc.responses, open).Accepted {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkVerifyOnAllCores gives verdicts per second.
func BenchmarkVerifyOnAllCores(b *testing.B) {
	l := newLab(b)
	evidence, rims, _ := l.build()
	l.policy.PermitUnpinned = true
	v := newVerifier(b, l.pki.Config())
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !v.Verify(evidence, rims, nil, l.policy, l.nonce, l.at).Accepted {
				b.Error("refused")
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verdicts/s")
}

// BenchmarkOverFloor takes turns between a bare P-384 verification and a cached
// verdict, so that both see the same machine, and gives the ratio of the tenth
// quickest: the slower ones waited for a busy machine.
func BenchmarkOverFloor(b *testing.B) {
	l := newLab(b)
	evidence, rims, responses := l.build()
	for name, set := range map[string]*nvidia.OCSPSet{"chain+RIMs": nil, "chain+RIMs+OCSP": responses} {
		b.Run(name, func(b *testing.B) {
			l.policy.PermitUnpinned = true
			v, bare := newVerifier(b, l.pki.Config()), bareP384(b)
			var floor, whole []time.Duration
			for b.Loop() {
				start := time.Now()
				bare()
				middle := time.Now()
				if !v.Verify(evidence, rims, set, l.policy, l.nonce, l.at).Accepted {
					b.Fatal("refused")
				}
				floor, whole = append(floor, middle.Sub(start)), append(whole, time.Since(middle))
			}
			slices.Sort(floor)
			slices.Sort(whole)
			f, w := floor[len(floor)/10], whole[len(whole)/10]
			b.ReportMetric(float64(f.Nanoseconds()), "floor-ns")
			b.ReportMetric(float64(w.Nanoseconds()), "verdict-ns")
			b.ReportMetric(float64(w)/float64(f), "x-floor")
		})
	}
}

// BenchmarkMemory measures what one entry of each cache takes, by many verifiers that
// have each seen the same.
func BenchmarkMemory(b *testing.B) {
	const verifiers = 50
	l := newLab(b)
	evidence, rims, responses := l.build()
	l.policy.PermitUnpinned = true
	kept := make([]*nvidia.Verifier, 0, 4*verifiers)
	each := func(judge func(*nvidia.Verifier) *attest.Verdict) float64 {
		before := heap()
		for range verifiers {
			v := newVerifier(b, l.pki.Config())
			if judge != nil && !judge(v).Accepted {
				b.Fatal("refused")
			}
			kept = append(kept, v)
		}
		return float64(heap()-before) / verifiers
	}
	judge := func(rims *nvidia.RIMSet, set *nvidia.OCSPSet) func(*nvidia.Verifier) *attest.Verdict {
		return func(v *nvidia.Verifier) *attest.Verdict {
			return v.Verify(evidence, rims, set, l.policy, l.nonce, l.at)
		}
	}
	empty, chain := each(nil), each(judge(nil, nil))
	both, all := each(judge(rims, nil)), each(judge(rims, responses))
	for b.Loop() {
		judge(rims, responses)(kept[len(kept)-1])
	}
	// One chain; two RIMs; a response for three certificates of the device and for three
	// of each RIM, of which two are shared.
	b.ReportMetric(chain-empty, "B/chain")
	b.ReportMetric((both-chain)/2, "B/RIM")
	b.ReportMetric((all-both)/7, "B/response")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bareP384 returns one verification of a signature.
func bareP384(b *testing.B) func() {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha512.Sum384([]byte("a report"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
			b.Fatal("does not verify")
		}
	}
}

func benchmarkP384(b *testing.B) {
	bare := bareP384(b)
	b.ReportAllocs()
	for b.Loop() {
		bare()
	}
}

// BenchmarkPublic measures the recorded documents.
func BenchmarkPublic(b *testing.B) {
	for _, name := range []string{"hopper_evidence.json", "mpt_8x_b200.json", "ppcie_8x_h100_4_switches.json"} {
		document := vector(b, "evidence/"+name)
		b.Run("parse/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := nvidia.ParseEvidence(document); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("cached/"+name, func(b *testing.B) {
			v, at := newVerifier(b, nvidia.Config{}), day("2026-02-01T00:00")
			b.ReportAllocs()
			for b.Loop() {
				e := parseEvidence(b, document)
				if !v.Verify(e, nil, nil, nvidia.Policy{PermitUnpinned: true}, nil, at).Accepted {
					b.Fatal("refused")
				}
			}
		})
	}
}
