package tdx_test

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// TestEveryCheckAndClaimIsDocumented compares a verdict with everything in it
// with docs/attestation-checks.md.
func TestEveryCheckAndClaimIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/attestation-checks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(doc), "\n## tdx\n")
	if !ok {
		t.Fatal("docs/attestation-checks.md has no heading tdx")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	s := newScene(t, 5, 3)
	s.policy.PPID = tdx.OneOf(s.ext.PPID[:])
	s.policy.MinimumTCBEvaluationDataNumber = 1
	s.policy.MinimumTEETCBSVN = tdx.OneOf(make([]byte, 16))
	s.policy.Absent = tdx.AbsentRefused
	verdict := s.run(t)
	var names []string
	for _, c := range verdict.Checks {
		names = append(names, c.Name)
	}
	for name := range verdict.Claims {
		names = append(names, name)
	}
	if len(names) < 70 {
		t.Errorf("only %d checks and claims came up, expected everything", len(names))
	}
	for _, name := range append(append(names, verdict.NotPinned...), tdx.MarkDebug, tdx.MarkForeignRoot, tdx.MarkTCBNotChecked) {
		if name == "rtmr1" || name == "rtmr2" {
			continue // "rtmr0 to rtmr3"
		}
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("%s is not documented", name)
		}
	}
}

func TestVerifierServesManyAtOnce(t *testing.T) {
	s := newScene(t, 4, 2)
	raw, c := s.build(t)
	v := newVerifier(t, tdx.Config{Root: s.pki.Root.Cert, Platforms: 1})
	other := quoteOf(s)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 4 {
				quote := raw
				if i%2 == 0 {
					quote = other
				}
				if verdict := v.Verify(tdx.Evidence{Quote: quote}, c, listed(), testTime); !verdict.Accepted {
					t.Error(verdict.Err())
				}
			}
		})
	}
	wg.Wait()
}
