package attest

import (
	"fmt"
	"time"
)

// Format names a kind of evidence.
type Format string

// The formats this module verifies. FormatSimulated is evidence of a fake
// enclave: it proves nothing, and only a policy that names it accepts it.
const (
	FormatSEVSNP    Format = "sev-snp"
	FormatTDX       Format = "tdx"
	FormatNVIDIA    Format = "nvidia"
	FormatSimulated Format = "simulated"
)

// Check is one thing that was looked at, and what came of it. Names are stable:
// dashboards and policies refer to them. docs/attestation-checks.md lists them.
type Check struct {
	// Name is lower-case words joined by underscores, such as "signature_chain".
	Name string `json:"name"`
	// OK tells whether the check passed.
	OK bool `json:"ok"`
	// Detail says what was compared and found; for a failure, what was expected.
	Detail string `json:"detail"`
}

// Verdict is the result of verifying evidence: every check by name, passed or
// why not, and what the evidence claims. A Verdict without checks is a refusal.
type Verdict struct {
	// Accepted is true only if there is at least one check and all of them passed.
	Accepted bool `json:"accepted"`
	// Format is the kind of evidence the verdict speaks of.
	Format Format `json:"format"`
	// Checks are in the order in which they were made.
	Checks []Check `json:"checks"`
	// Claims are values taken from the evidence (measurement, TCB, chip id, driver
	// version …), byte strings in lower-case hex. They mean something only if the
	// verdict is accepted.
	Claims map[string]any `json:"claims"`
	// Insecure names every reason why the evidence, although accepted, protects
	// nothing: "simulated", "debug". Empty for production evidence.
	Insecure []string `json:"insecure,omitempty"`
	// NotPinned lists the policy keys that were left out and thus not compared.
	NotPinned []string `json:"not_pinned,omitempty"`
	// At is the time the evidence was judged against.
	At time.Time `json:"at"`
}

// NewVerdict returns an empty verdict, which refuses until checks are added.
func NewVerdict(format Format, at time.Time) *Verdict {
	return &Verdict{Format: format, Checks: []Check{}, Claims: map[string]any{}, At: at.UTC()}
}

// Pass records a check that passed.
func (v *Verdict) Pass(name, format string, args ...any) {
	v.add(Check{Name: name, OK: true, Detail: fmt.Sprintf(format, args...)})
}

// Fail records a check that failed; the verdict can't be accepted any more.
func (v *Verdict) Fail(name, format string, args ...any) {
	v.add(Check{Name: name, Detail: fmt.Sprintf(format, args...)})
}

// Report records a check that passed if err is nil and failed with its text
// otherwise, and returns whether it passed.
func (v *Verdict) Report(name string, err error, passed string, args ...any) bool {
	if err != nil {
		v.Fail(name, "%v", err)
		return false
	}
	v.Pass(name, passed, args...)
	return true
}

func (v *Verdict) add(c Check) {
	v.Accepted = c.OK && (v.Accepted || len(v.Checks) == 0)
	v.Checks = append(v.Checks, c)
}

// Failed returns the checks that did not pass.
func (v *Verdict) Failed() []Check {
	var out []Check
	for _, c := range v.Checks {
		if !c.OK {
			out = append(out, c)
		}
	}
	return out
}

// Merge appends another verdict's checks, claims (under prefix), marks and
// unpinned keys, so that evidence in several parts ends in one verdict.
func (v *Verdict) Merge(prefix string, o *Verdict) {
	for _, c := range o.Checks {
		v.add(Check{Name: prefix + c.Name, OK: c.OK, Detail: c.Detail})
	}
	if len(o.Checks) == 0 {
		v.Fail(prefix+"checks", "no check was made")
	}
	for k, val := range o.Claims {
		v.Claims[prefix+k] = val
	}
	v.Insecure = append(v.Insecure, o.Insecure...)
	for _, k := range o.NotPinned {
		v.NotPinned = append(v.NotPinned, prefix+k)
	}
}

// Err returns nil for an accepted verdict and otherwise a [*RefusedError].
func (v *Verdict) Err() error {
	if v.Accepted {
		return nil
	}
	return &RefusedError{Format: v.Format, Failed: v.Failed()}
}
