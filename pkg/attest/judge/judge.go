package judge

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// Names of the checks that are made for every enclave, besides those of package
// evidence and of the vendors' verifiers. They are stable.
const (
	// CheckDocument: the document can be read.
	CheckDocument = "evidence_document"
	// CheckPolicy: the policy accepts evidence of this format at all.
	CheckPolicy = "policy"
	// CheckMeasurement: the launch is one of those expected.
	CheckMeasurement = "measurement"
	// CheckDebugEnclave: the enclave has no shell, or one is allowed.
	CheckDebugEnclave = "debug_enclave"
	// CheckGPUs: as many GPUs are attested as the enclave was given.
	CheckGPUs = "gpu_evidence"
	// CheckFreshness: the evidence was made for this request.
	CheckFreshness = "freshness"
)

// markForeignRoot is how the verifiers of TDX and NVIDIA mark what no vendor signed.
const markForeignRoot = tdx.MarkForeignRoot

// Config is what a Judge is made of. Its zero value accepts nothing.
type Config struct {
	// Policy says what is accepted; nil accepts nothing. It must not be changed any
	// more. Values that belong to one enclave (host data, report data, MRCONFIGID)
	// can't be pinned in it: the caller's expectation is compared with them.
	Policy *policy.Policy
	// SimulatedRoots are certificates that Policy.Simulated names by digest. Others
	// are not trusted, and one that is named and not here is an error.
	SimulatedRoots []*x509.Certificate
	// Getter gets what vendors publish beside evidence; nil means that there is only
	// what the evidence brings.
	Getter collateral.Getter
	// SimulatedGetter is asked instead of it for evidence under simulated roots, of
	// which no vendor knows.
	SimulatedGetter collateral.Getter
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Judge judges enclaves. It keeps verified chains and collateral by digest,
// bounded, and may be used by several goroutines.
type Judge struct {
	policy     *policy.Policy
	snp        *sevsnp.Verifier
	tdx        []tdxVerifier
	nvidia     *nvidia.Verifier
	roots      []*x509.Certificate
	getter     collateral.Getter
	fakeGetter collateral.Getter
	now        func() time.Time
}

// Vendors is the policy for real hardware of all vendors: any platform, at any TCB that
// its vendor holds good and has not revoked, with SMT, and any driver whose RIM there is. Nothing else in
// it is lenient. A policy file names the floors, platforms and versions of a fleet.
func Vendors() *policy.Policy {
	smt := true
	return &policy.Policy{
		SEVSNP: &sevsnp.Policy{MinimumTCB: &sevsnp.TCB{}, AllowSMT: &smt, ChipIDs: sevsnp.Any()},
		TDX:    &tdx.Policy{PPID: tdx.AnyValue()},
		NVIDIA: &nvidia.Policy{DriverVersions: nvidia.AnyVersion(), VBIOSVersions: nvidia.AnyVersion()},
	}
}

// New checks the policy and returns a Judge.
func New(c Config) (*Judge, error) {
	j := &Judge{policy: c.Policy, getter: c.Getter, fakeGetter: c.SimulatedGetter, now: c.Now}
	if j.policy == nil {
		j.policy = &policy.Policy{}
	}
	if j.now == nil {
		j.now = time.Now
	}
	if err := errors.Join(j.policy.Validate(), checkPins(j.policy)); err != nil {
		return nil, fmt.Errorf("attestation policy: %w", err)
	}
	if err := j.trust(c.SimulatedRoots); err != nil {
		return nil, fmt.Errorf("attestation policy: %w", err)
	}
	return j, nil
}

// Verify judges a document as an enclave served it, at the present time. Whatever
// is wrong with it is in the verdict. The context bounds what the Getters take.
func (j *Judge) Verify(ctx context.Context, raw []byte, e Expect) *attest.Verdict {
	doc, err := evidence.Parse(raw)
	if err != nil {
		v := attest.NewVerdict("", j.now())
		v.Fail(CheckDocument, "%v", err)
		return v
	}
	return j.VerifyDocument(ctx, doc, e)
}

// VerifyDocument is Verify of a document that was read already.
func (j *Judge) VerifyDocument(ctx context.Context, doc *evidence.Document, e Expect) *attest.Verdict {
	c := &trial{Judge: j, ctx: ctx, doc: doc, expect: e, at: j.now()}
	c.verdict = attest.NewVerdict(doc.Format, c.at)
	c.verdict.Pass(CheckDocument, "the document is well-formed, its format %s", doc.Format)
	switch doc.Format {
	case attest.FormatSEVSNP:
		c.judgeSNP()
	case attest.FormatTDX:
		c.judgeTDX()
	case attest.FormatSimulated:
		c.judgeUnsigned()
	default:
		c.verdict.Fail(CheckPolicy, "evidence of the format %.40q can't be verified", doc.Format)
		return c.verdict
	}
	c.checkDebugEnclave()
	c.judgeDevices()
	c.checkFreshness()
	c.finish()
	return c.verdict
}

// trial is one verification.
type trial struct {
	*Judge
	ctx     context.Context
	doc     *evidence.Document
	expect  Expect
	at      time.Time
	verdict *attest.Verdict

	stale    []string // collateral that was used although it had ended
	problems []string // collateral that could not be had
}

func (t *trial) claims() {
	c := t.verdict.Claims
	c["config_digest"] = fmt.Sprintf("%x", t.doc.ConfigDigest)
	c["platform_digest"] = fmt.Sprintf("%x", t.doc.PlatformDigest)
	c["tls_key_digest"] = fmt.Sprintf("%x", t.doc.TLSKeyDigest)
}

// checkDebugEnclave looks at what the enclave says of itself: over a connection
// that its report binds, that is the measured guest's own word.
func (t *trial) checkDebugEnclave() {
	if t.doc.Format == attest.FormatSimulated {
		return // it was judged as debug_off
	}
	debug := slices.Contains(t.doc.Insecure, evidence.MarkDebug)
	if debug {
		t.verdict.Insecure = append(t.verdict.Insecure, evidence.MarkDebug)
	}
	switch {
	case debug && !t.expect.AllowDebug:
		t.verdict.Fail(CheckDebugEnclave, "this is a debug enclave, which has a shell, and none is allowed")
	case debug:
		t.verdict.Pass(CheckDebugEnclave, "this is a debug enclave, which has a shell, as is allowed")
	default:
		t.verdict.Pass(CheckDebugEnclave, "the enclave says of itself that it has no shell")
	}
}

// checkFreshness says whether the evidence was made for this request. An unsigned
// report was judged by its time.
func (t *trial) checkFreshness() {
	switch {
	case t.doc.Format == attest.FormatSimulated:
	case t.doc.Nonce != t.expect.Nonce:
		t.verdict.Fail(CheckFreshness, "the document answers the nonce %x, not %x: it may be an old one", t.doc.Nonce, t.expect.Nonce)
	case len(t.stale) > 0:
		t.verdict.Pass(CheckFreshness, "made for this request; collateral that has ended and is used as the policy allows: %v", t.stale)
	default:
		t.verdict.Pass(CheckFreshness, "made for this request")
	}
}

// finish puts the marks into one form and lists what could not be had.
func (t *trial) finish() {
	var marks []string
	for _, m := range t.verdict.Insecure {
		if m == markForeignRoot {
			m = evidence.MarkSimulated
		}
		if !slices.Contains(marks, m) {
			marks = append(marks, m)
		}
	}
	t.verdict.Insecure = marks
	t.claims()
	if len(t.stale) > 0 {
		t.verdict.Claims["collateral_stale"] = t.stale
	}
	if len(t.problems) > 0 {
		t.verdict.Claims["collateral_problems"] = t.problems
	}
}
