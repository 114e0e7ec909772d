package tdx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// Marks in [attest.Verdict.Insecure]: why a quote, although accepted, protects
// less than a production TD.
const (
	// MarkTCBNotChecked: the policy said chain_only.
	MarkTCBNotChecked = "tcb_not_checked"
	// MarkDebug: the TD is in debug mode, and the policy allows it.
	MarkDebug = "debug"
	// MarkForeignRoot: the quote chains to a root that is not Intel's.
	MarkForeignRoot = "foreign_root"
)

// Evidence is a TDX quote as the guest got it, raw.
type Evidence struct {
	Quote []byte
}

// Config says what a verifier trusts and how much it keeps.
type Config struct {
	// Root is the trust anchor; nil means the Intel SGX Root CA.
	Root *x509.Certificate
	// Platforms bounds how many platforms' verified certificates are kept, about
	// 13 KiB each; 0 means 256. Collateral is bounded at 64 of each kind.
	Platforms int
}

// Verifier verifies quotes under one root. It keeps what it has verified, by
// digest. It is safe for concurrent use and starts no goroutine.
type Verifier struct {
	root      *x509.Certificate
	intelRoot bool

	certifications *memo[*certification]
	chains         *memo[*pckChain]
	signers        *memo[*signer]
	crlIssuers     *memo[*signer]
	crls           *memo[*crl]
	tcbInfos       *memo[*signedTCBInfo]
	qeIdentities   *memo[*signedQEIdentity]
}

// certification is what is the same in every quote of one platform until it
// restarts: the PCK chain, and the attestation key that a QE report signed by the
// PCK binds.
type certification struct {
	chain *pckChain
	key   *ecdsa.PublicKey
}

// NewVerifier returns a verifier; a root that is not a self-signed CA certificate
// with a P-256 key is an error.
func NewVerifier(cfg Config) (*Verifier, error) {
	intel := IntelRoot()
	v := &Verifier{root: intel, intelRoot: true}
	if cfg.Root != nil {
		if err := checkRoot(cfg.Root); err != nil {
			return nil, fmt.Errorf("new tdx verifier: %w", err)
		}
		v.root = cfg.Root
		v.intelRoot = bytes.Equal(cfg.Root.RawSubjectPublicKeyInfo, intel.RawSubjectPublicKeyInfo)
	}
	if cfg.Platforms < 0 {
		return nil, fmt.Errorf("new tdx verifier: %d platforms to keep", cfg.Platforms)
	}
	platforms, collateral := cfg.Platforms, 64
	if platforms == 0 {
		platforms = 256
	}
	v.certifications = newMemo[*certification](platforms)
	v.chains = newMemo[*pckChain](platforms)
	v.signers = newMemo[*signer](collateral)
	v.crlIssuers = newMemo[*signer](collateral)
	v.crls = newMemo[*crl](collateral)
	v.tcbInfos = newMemo[*signedTCBInfo](collateral)
	v.qeIdentities = newMemo[*signedQEIdentity](collateral)
	return v, nil
}

// Verify judges a quote by collateral, policy and time. Collateral may be nil
// only under a policy that says chain_only. The verdict names every check that
// could be made; checks that rest on something unreadable, or on a chain that
// doesn't lead to the root, are left out, and the reason is a failed check itself.
func (v *Verifier) Verify(e Evidence, c *Collateral, p Policy, at time.Time) *attest.Verdict {
	s := &session{v: v, verdict: attest.NewVerdict(attest.FormatTDX, at), policy: &p, collateral: c, at: at}
	// Every verdict fills these, so they are made in their size.
	s.verdict.Checks, s.verdict.Claims = make([]attest.Check, 0, 48), make(map[string]any, 56)
	s.verdict.NotPinned = make([]string, 0, len(policyPins)+1)
	if err := p.Validate(); err != nil {
		s.verdict.Fail("policy", "%v", err)
		return s.verdict
	}
	if !s.checkQuote(e.Quote) {
		return s.verdict
	}
	s.checkVendor()
	if s.checkChain() {
		s.checkBeyondChain()
	}
	if !v.intelRoot {
		s.verdict.Insecure = append(s.verdict.Insecure, MarkForeignRoot)
	}
	s.claim()
	return s.verdict
}

// checkBeyondChain makes the checks that rest on a trusted chain: without one they
// would say nothing, and cost whoever verifies quotes of strangers.
func (s *session) checkBeyondChain() {
	if s.policy.TCB == ChainOnly {
		s.verdict.Insecure = append(s.verdict.Insecure, MarkTCBNotChecked)
		s.verdict.Pass("collateral", "not used: the policy says chain_only, so neither revocation nor TCB status was checked")
	} else {
		s.checkCollateral()
	}
	s.checkSignatures()
	s.checkPlatform()
	s.checkTD()
}
