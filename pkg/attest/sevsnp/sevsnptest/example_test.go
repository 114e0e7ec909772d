package sevsnptest_test

import (
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
)

// A fake enclave signs a report under a simulated root, and a verifier that was given
// the root's certificate accepts it, marked, by a policy that allows simulated evidence.
func Example() {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	signer, err := sevsnptest.NewSigner(sevsnp.Genoa, now.AddDate(0, 0, -1))
	if err != nil {
		panic(err)
	}
	report := signer.Report()
	copy(report.ReportData[:], "what the guest binds: nonce, TLS key, GPU evidence")
	evidence, err := signer.Sign(report)
	if err != nil {
		panic(err)
	}

	roots, err := sevsnp.ParseRoots(signer.RootPEM())
	if err != nil {
		panic(err)
	}
	verifier, err := sevsnp.NewVerifier(sevsnp.Config{Roots: roots})
	if err != nil {
		panic(err)
	}
	smt, crl := true, false
	policy := &sevsnp.Policy{
		AllowSimulated: true,
		AllowSMT:       &smt,
		RequireCRL:     &crl,
		MinimumTCB:     &sevsnp.TCB{Microcode: 1},
		ChipIDs:        sevsnp.Any(),
		Measurement:    sevsnp.Any(),
		HostData:       sevsnp.Any(),
		ReportData:     sevsnp.OneOf(report.ReportData[:]),
	}
	verdict := verifier.Verify(evidence, policy, now)
	fmt.Println(verdict.Accepted, verdict.Insecure)
	// Output: true [simulated]
}
