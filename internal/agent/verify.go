package agent

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
)

// judge judges a document that the guest of a spec gave for a nonce, on a connection
// with this key. Whatever is wrong with it is in the verdict.
func (a *Agent) judge(ctx context.Context, raw []byte, nonce, key [32]byte, spec *agentv1.EnclaveSpec) *attest.Verdict {
	expect, err := judge.ForSpec(spec)
	if err != nil {
		v := attest.NewVerdict("", a.cfg.Now())
		v.Fail(judge.CheckMeasurement, "%v", err)
		return v
	}
	expect.Nonce, expect.TLSKeyDigest = nonce, key
	expect.AllowDebug = a.cfg.Policy.AllowDebug && spec.GetPlatform().GetDebug()
	return a.cfg.Judge.Verify(ctx, raw, expect)
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
