package sevsnp

import (
	"errors"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// DefaultCacheSize is how many verified chains a Verifier keeps if its Config says
// nothing: about 1 KiB each.
const DefaultCacheSize = 1024

// Evidence is what there is to verify. Certificates and list are DER or PEM.
type Evidence struct {
	// Report is the raw report of ReportSize bytes.
	Report []byte
	// VEK is the certificate of the key that signed it, a VCEK or a VLEK.
	VEK []byte
	// Chain holds the ASK or ASVK and, if wanted, the ARK, which must then be a
	// trusted root. Empty means the intermediates of the verifier's own roots.
	Chain []byte
	// CRL is the root's revocation list; empty means that there is none at hand.
	CRL []byte
}

// Config says what a Verifier trusts.
type Config struct {
	// Roots are the trusted roots; nil means AMDRoots. An empty, non-nil slice is
	// refused. To a root of AMD's by itself, its known intermediates are added.
	Roots []Root
	// Clock gives the time for calls that name none; nil means time.Now.
	Clock func() time.Time
	// CacheSize bounds the verified chains that are kept; 0 means DefaultCacheSize,
	// below 0 none.
	CacheSize int
}

// Verifier verifies SEV-SNP evidence. It is safe for concurrent use.
type Verifier struct {
	roots []Root
	clock func() time.Time
	cache *chainCache
}

// NewVerifier checks the roots and returns a Verifier that trusts them and no others.
func NewVerifier(c Config) (*Verifier, error) {
	roots := c.Roots
	if roots == nil {
		roots = amdRoots()
	}
	if len(roots) == 0 {
		return nil, errors.New("sev-snp verifier: no trusted roots, leave them nil for AMD's own")
	}
	v := &Verifier{roots: append([]Root(nil), roots...), clock: c.Clock}
	for i := range v.roots {
		if err := v.roots[i].check(); err != nil {
			return nil, fmt.Errorf("sev-snp verifier: root %d: %w", i, err)
		}
		v.roots[i].addKnown()
	}
	if v.clock == nil {
		v.clock = time.Now
	}
	if c.CacheSize == 0 {
		c.CacheSize = DefaultCacheSize
	}
	v.cache = newChainCache(c.CacheSize)
	return v, nil
}

// CachedChains returns how many verified chains are kept.
func (v *Verifier) CachedChains() int { return v.cache.len() }

// Verify judges evidence by a policy at a time; the zero time means the clock's now.
// Nothing is compared with the policy before the report's signature has been
// verified. It never panics and makes no network call.
func (v *Verifier) Verify(ev Evidence, policy *Policy, at time.Time) *attest.Verdict {
	if at.IsZero() {
		at = v.clock()
	}
	out := newVerdict(at)
	if policy == nil {
		out.Fail(CheckPolicy, "no policy was given")
		return out
	}
	if err := policy.Validate(); err != nil {
		out.Fail(CheckPolicy, "%v", err)
		return out
	}
	j := judge{Verdict: out, policy: policy, at: at, raw: ev.Report}
	if !j.form() {
		return out
	}
	f, ref := v.chain(j.report.Signer.Kind(), &ev, at)
	if ref != nil {
		out.Fail(ref.check, "%v", ref.err)
		return out
	}
	j.facts = f
	if !j.authentic() {
		return out
	}
	j.contents()
	j.claims()
	return out
}

// newVerdict returns an empty verdict with room for what will stand in it.
func newVerdict(at time.Time) *attest.Verdict {
	out := attest.NewVerdict(attest.FormatSEVSNP, at)
	out.Checks = make([]attest.Check, 0, 24)
	out.Claims = make(map[string]any, 24)
	out.NotPinned = make([]string, 0, 20)
	return out
}

// chain returns the facts of the evidence's chain, from the cache if they are there.
func (v *Verifier) chain(kind KeyKind, ev *Evidence, at time.Time) (*facts, *refusal) {
	if len(ev.VEK) == 0 {
		return nil, refuse(CheckCertificateFormat, fmt.Errorf("no %v certificate was given", kind))
	}
	key := keyOf(kind, ev)
	if f := v.cache.get(key, at); f != nil {
		return f, nil
	}
	f, ref := verifyChain(v.roots, kind, ev)
	if ref != nil {
		if ref.revoked != nil {
			v.cache.forget(ref.revoked)
		}
		return nil, ref
	}
	v.cache.put(key, f, at)
	return f, nil
}
