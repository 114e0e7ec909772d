package agent

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
)

// Expect is what evidence is compared with, whatever its format.
type Expect struct {
	// Nonce is the one that was sent, TLSKeyDigest of the key on the connection.
	Nonce, TLSKeyDigest [32]byte
	// Spec is what was asked to run.
	Spec *agentv1.EnclaveSpec
	// Policy is the host's.
	Policy Policy
}

// Verifier judges evidence of one format. It makes every check that it can.
type Verifier func(doc *evidence.Document, expect Expect, at time.Time) *attest.Verdict

// Simulated judges evidence of enclaves without a TEE.
func Simulated(doc *evidence.Document, expect Expect, at time.Time) *attest.Verdict {
	return simulated.Verify(doc, simulated.Expect{
		Nonce: expect.Nonce, TLSKeyDigest: expect.TLSKeyDigest,
		ConfigDigest:   sha256.Sum256(expect.Spec.GetConfig()),
		PlatformDigest: evidence.PlatformDigest(expect.Spec.GetPlatform()),
		Measurements:   expect.Spec.GetExpectedMeasurements(),
		AllowSimulated: expect.Policy.AllowSimulated,
		AllowDebug:     expect.Policy.AllowDebug && expect.Spec.GetPlatform().GetDebug(),
	}, at)
}

// judge reads a document that a guest gave and has it verified. Whatever is wrong
// with it is in the verdict.
func judge(verifiers map[attest.Format]Verifier, raw []byte, expect Expect, at time.Time) *attest.Verdict {
	doc, err := evidence.Parse(raw)
	if err != nil {
		v := attest.NewVerdict("", at)
		v.Fail(evidence.CheckFormat, "%v", err)
		return v
	}
	verify, ok := verifiers[doc.Format]
	if !ok {
		v := attest.NewVerdict(doc.Format, at)
		v.Fail(evidence.CheckFormat, "this agent was not built or configured to verify %s evidence", doc.Format)
		return v
	}
	return verify(doc, expect, at)
}

// verdictProto is a verdict as the API has it.
func verdictProto(v *attest.Verdict) *agentv1.Verdict {
	if v == nil {
		return nil
	}
	out := &agentv1.Verdict{
		Accepted: v.Accepted, Format: string(v.Format), Insecure: v.Insecure,
		Time: timestamppb.New(v.At), NotPinned: v.NotPinned,
	}
	for _, c := range v.Checks {
		out.Checks = append(out.Checks, &agentv1.VerdictCheck{
			Name: c.Name, Ok: c.OK, Detail: strings.ToValidUTF8(c.Detail, "?"),
		})
	}
	return out
}

// refusal says in words which checks failed.
func refusal(v *attest.Verdict) string {
	var names []string
	for _, c := range v.Failed() {
		names = append(names, c.Name)
	}
	return fmt.Sprintf("the evidence was refused by %s. %v", strings.Join(names, ", "), v.Err())
}
