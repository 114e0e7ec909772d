package nvidia_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

var place = regexp.MustCompile(`^(gpu|switch)\d+_`)

// documented returns the section on this package.
func documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/attestation-checks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## nvidia\n")
	if !ok {
		t.Fatal("docs/attestation-checks.md has no section on nvidia")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

func TestEveryCheckIsDocumented(t *testing.T) {
	section := documented(t)
	held := newLab(t)
	held.editOCSP = status(brom, ocsp.Revoked, ocsp.CertificateHold)
	nonceless := newLab(t)
	nonceless.nonce = nil
	var verdicts []*attest.Verdict
	for _, l := range []*lab{newLab(t).protected(), newLab(t).blackwell(), held, nonceless} {
		verdicts = append(verdicts, l.verify())
	}
	seen := map[string]bool{}
	for _, v := range verdicts {
		for _, c := range v.Checks {
			name := strings.Replace(place.ReplaceAllString(c.Name, ""), "vbios_rim_", "driver_rim_", 1)
			if !seen[name] && !strings.Contains(section, "`"+name+"`") {
				t.Errorf("check %s is not documented", name)
			}
			seen[name] = true
		}
		for _, mark := range v.Insecure {
			if !strings.Contains(section, "| `"+mark+"` |") {
				t.Errorf("mark %s is not documented", mark)
			}
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d checks were made", len(seen))
	}
}

func TestEveryPolicyKeyIsDocumented(t *testing.T) {
	section := documented(t)
	policy := reflect.TypeFor[nvidia.Policy]()
	for i := range policy.NumField() {
		key, _, _ := strings.Cut(policy.Field(i).Tag.Get("yaml"), ",")
		if key != "-" && !strings.Contains(section, "`"+key+"`") {
			t.Errorf("policy key %s is not documented", key)
		}
	}
}
