package tdx

import (
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// VerifyCollateral makes the checks of [Verifier.Verify] that look at collateral,
// and not the three signatures in the quote, on which it has no bearing.
func (v *Verifier) VerifyCollateral(e Evidence, c *Collateral, p Policy, at time.Time) *attest.Verdict {
	s := &session{v: v, verdict: attest.NewVerdict(attest.FormatTDX, at), policy: &p, collateral: c, at: at}
	if s.checkQuote(e.Quote) {
		if s.checkChain() {
			s.checkCollateral()
			s.checkPlatform()
		}
		s.claim()
	}
	return s.verdict
}

// Kept returns how many platforms' certifications are kept.
func (v *Verifier) Kept() int { return v.certifications.len() }

// ForgetPlatforms drops what is kept of platforms, not of collateral.
func (v *Verifier) ForgetPlatforms() {
	v.ForgetCertifications()
	v.chains = newMemo[*pckChain](256)
}

// ForgetCertifications drops the attestation keys that are kept, not the chains.
func (v *Verifier) ForgetCertifications() { v.certifications = newMemo[*certification](256) }
