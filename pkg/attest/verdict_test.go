package attest

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	at := time.Unix(0, 0)
	for _, tc := range []struct {
		rule     string
		checks   []bool
		accepted bool
	}{
		{"no check is a refusal", nil, false},
		{"one passed check accepts", []bool{true}, true},
		{"a failure at the end refuses", []bool{true, true, false}, false},
		{"a pass after a failure does not mend it", []bool{false, true}, false},
		{"a failure in the middle refuses", []bool{true, false, true}, false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			v := NewVerdict(FormatTDX, at)
			for _, ok := range tc.checks {
				if ok {
					v.Pass("a", "fine")
				} else {
					v.Fail("b", "want %d", 1)
				}
			}
			if v.Accepted != tc.accepted {
				t.Errorf("accepted = %v, want %v", v.Accepted, tc.accepted)
			}
			if (v.Err() == nil) != tc.accepted {
				t.Errorf("Err() = %v for accepted = %v", v.Err(), tc.accepted)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	part := NewVerdict(FormatNVIDIA, time.Unix(0, 0))
	part.Fail("nonce", "differs")
	part.Claims["driver"] = "550"
	part.NotPinned = []string{"vbios"}
	whole := NewVerdict(FormatSEVSNP, time.Unix(0, 0))
	whole.Pass("signature", "ok")
	whole.Merge("gpu0_", part)
	if whole.Accepted {
		t.Error("a refused part left the whole accepted")
	}
	var refused *RefusedError
	if err := whole.Err(); !errors.As(err, &refused) || !strings.Contains(err.Error(), "gpu0_nonce: differs") {
		t.Errorf("Err() = %v, want the failed part by name", err)
	}
	if whole.Claims["gpu0_driver"] != "550" || whole.NotPinned[0] != "gpu0_vbios" {
		t.Errorf("claims %v, not pinned %v", whole.Claims, whole.NotPinned)
	}
}

func TestMergeOfAnEmptyPartRefuses(t *testing.T) {
	whole := NewVerdict(FormatSEVSNP, time.Unix(0, 0))
	whole.Pass("signature", "ok")
	whole.Merge("gpu0_", NewVerdict(FormatNVIDIA, time.Unix(0, 0)))
	if whole.Accepted {
		t.Error("evidence with an unchecked part was accepted")
	}
}
