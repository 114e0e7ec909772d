package tdx_test

import (
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// testTime is when synthetic evidence is made and judged.
var testTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// testPKI is made once: keys are what costs in these tests.
var testPKI = sync.OnceValues(func() (*tdxtest.PKI, error) { return tdxtest.NewPKI(testTime) })

// scene is one synthetic verification. A case changes one thing before build or
// run; everything else is as a healthy platform has it.
type scene struct {
	pki        *tdxtest.PKI
	ext        tdx.PCKExtensions
	platform   *tdxtest.Platform // nil: made by build from ext
	quote      *tdxtest.Quote
	collateral *tdxtest.Collateral
	signed     func(*tdx.Collateral) // changes signed collateral
	policy     tdx.Policy
	at         time.Time
}

func newScene(t testing.TB, version, bodyType uint16) *scene {
	t.Helper()
	pki, err := testPKI()
	if err != nil {
		t.Fatal(err)
	}
	own := *pki // cases may replace parts
	return &scene{
		pki: &own, ext: tdxtest.DefaultExtensions(), quote: tdxtest.NewQuote(version, bodyType),
		collateral: tdxtest.NewCollateral(testTime), policy: listed(), at: testTime,
	}
}

func (s *scene) build(t testing.TB) ([]byte, *tdx.Collateral) {
	t.Helper()
	var err error
	if s.platform == nil {
		if s.platform, err = s.pki.NewPlatform(s.ext); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := s.platform.Quote(s.quote)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.pki.Collateral(s.collateral)
	if err != nil {
		t.Fatal(err)
	}
	if s.signed != nil {
		s.signed(c)
	}
	return raw, c
}

// run verifies the scene under the root that was trusted before any change.
func (s *scene) run(t testing.TB) *attest.Verdict {
	t.Helper()
	raw, c := s.build(t)
	pki, err := testPKI()
	if err != nil {
		t.Fatal(err)
	}
	return newVerifier(t, tdx.Config{Root: pki.Root.Cert}).Verify(tdx.Evidence{Quote: raw}, c, s.policy, s.at)
}

// must returns what was made; the making of test evidence has no business failing.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func rootPool(s *scene) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.pki.Root.Cert)
	return pool
}
