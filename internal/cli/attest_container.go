package cli

import (
	"context"

	"github.com/spf13/cobra"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
	"github.com/casemate-dev/casemate/pkg/attest"
)

func newAttestContainer(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "container NAME", Short: "Have the coordinator judge the enclave that serves, now", Args: cobra.ExactArgs(1),
		Long: `Have the coordinator ask the enclave that serves for evidence, over a nonce of its
own, and judge it now. A refusal has the effect that the coordinator's policy
gives it, such as closing the route. Whoever doesn't trust the coordinator asks
the enclave from outside: casemate attest verify https://NAME.

Exit codes: 0 accepted; 1 refused, with the failed checks, or nothing serves.`,
		Example:           "  casemate attest container web",
		ValidArgsFunction: a.completeContainer,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.attestContainer(cmd.Context(), args[0]) },
	}
}

func (a *app) attestContainer(ctx context.Context, name string) error {
	l, err := a.connect()
	if err != nil {
		return err
	}
	r, err := call(ctx, a, l.containers.AttestContainer, &cv1.AttestContainerRequest{Org: l.org, Name: name})
	if err != nil {
		return err
	}
	v := r.GetVerdict()
	err = a.result(r, func(s view.View) string {
		return "enclave " + view.Name(r.GetEnclave()) + " on host " + view.Name(r.GetHost()) + "\n" + verdictTable(verdictOf(v), s.Style)
	})
	if err != nil {
		return err
	}
	if !v.GetAccepted() {
		return failedf("the evidence of %s was refused", attestClean(r.GetEnclave()))
	}
	return nil
}

// verdictOf is a verdict as the coordinator tells it, without claims.
func verdictOf(m *agentv1.Verdict) *attest.Verdict {
	v := &attest.Verdict{
		Accepted: m.GetAccepted(), Format: attest.Format(m.GetFormat()), Insecure: m.GetInsecure(),
		NotPinned: m.GetNotPinned(), At: m.GetTime().AsTime(),
	}
	for _, c := range m.GetChecks() {
		v.Checks = append(v.Checks, attest.Check{Name: c.GetName(), OK: c.GetOk(), Detail: c.GetDetail()})
	}
	return v
}
