package judge_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest"
)

func TestEveryCheckIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/attestation-checks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []attest.Format{attest.FormatSEVSNP, attest.FormatTDX} {
		v := newLab(t, format, 1).mustAccept()
		if len(v.Checks) < 30 {
			t.Errorf("%s: only %d checks came up, expected everything", format, len(v.Checks))
		}
		names := slices.Concat([]string{"config_digest", "platform_digest", "tls_key_digest", "platform", "gpus"}, v.NotPinned)
		for _, c := range v.Checks {
			names = append(names, strings.TrimPrefix(c.Name, "gpu0_"))
		}
		for _, name := range names {
			if name == "rtmr1" || name == "rtmr2" {
				continue // "rtmr0 to rtmr3"
			}
			if !strings.Contains(string(doc), "`"+name+"`") {
				t.Errorf("%s: %s is not documented", format, name)
			}
		}
	}
}
