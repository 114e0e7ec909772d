package tdxtest_test

import (
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// A platform signs a quote of chosen content; a verifier that trusts the test
// root accepts it and says so.
func Example() {
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	pki, err := tdxtest.NewPKI(at)
	if err != nil {
		panic(err)
	}
	platform, err := pki.NewPlatform(tdxtest.DefaultExtensions())
	if err != nil {
		panic(err)
	}
	quote := tdxtest.NewQuote(4, 2)
	copy(quote.Body.ReportData[:], "chosen by the guest")
	raw, err := platform.Quote(quote)
	if err != nil {
		panic(err)
	}
	collateral, err := pki.Collateral(tdxtest.NewCollateral(at))
	if err != nil {
		panic(err)
	}
	verifier, err := tdx.NewVerifier(tdx.Config{Root: pki.Root.Cert})
	if err != nil {
		panic(err)
	}
	policy := tdx.Policy{Absent: tdx.AbsentListed, ReportData: tdx.OneOf(quote.Body.ReportData[:])}
	verdict := verifier.Verify(tdx.Evidence{Quote: raw}, collateral, policy, at)
	fmt.Println(verdict.Accepted, verdict.Claims["tcb_status"], verdict.Insecure)
	// Output: true UpToDate [foreign_root]
}
