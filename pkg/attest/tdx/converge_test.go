package tdx

import "testing"

func TestConvergedStatusIsNeverBetterThanEither(t *testing.T) {
	for a := range statusTraits {
		for b := range statusTraits {
			got := a.converge(b)
			if got != b.converge(a) {
				t.Errorf("%s with %s is %s, the other way around %s", a, b, got, b.converge(a))
			}
			if a == b && got != a {
				t.Errorf("%s with itself is %s", a, got)
			}
			for _, hard := range []trait{traitRevoked, traitOutdated} {
				if (a.has(hard) || b.has(hard)) && !got.has(hard) && got != Revoked {
					t.Errorf("%s with %s is %s", a, b, got)
				}
			}
			if got == UpToDate && (a != UpToDate || b != UpToDate) {
				t.Errorf("%s with %s is UpToDate", a, b)
			}
		}
		if got := a.converge("Splendid"); got != "Splendid" {
			t.Errorf("%s with an unknown status is %s", a, got)
		}
		if got := Status("Splendid").converge(a); got != "Splendid" {
			t.Errorf("an unknown status with %s is %s", a, got)
		}
	}
}

// TestSGXLevelOfUnknownStatusAdvisesNoRelaunch: a status nobody knows counts as no
// reason to think that the platform is up to date.
func TestSGXLevelOfUnknownStatusAdvisesNoRelaunch(t *testing.T) {
	info := &tcbInfo{levels: []tcbLevel{{}}}
	r := &tcbResult{status: OutOfDate, module: OutOfDate, qe: UpToDate}
	if got, err := relaunch(info, "Splendid", r, [16]byte{9, 0, 9}); err != nil || got != OutOfDate {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := relaunch(info, UpToDate, r, [16]byte{9, 0, 9}); err != nil || got != TDRelaunchAdvised {
		t.Errorf("got %s, %v", got, err)
	}
}
