package attestation_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/attestation"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASectionThatMakesSenseOpens(t *testing.T) {
	pki, err := tdxtest.NewPKI(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := write(t, "roots.pem", string(tdxtest.ChainPEM(pki.Root.Cert)))
	named := write(t, "policy.yaml", "tdx: {}\nsimulated: {roots: ["+policy.Fingerprint(pki.Root.Cert)+"]}\n")
	for name, c := range map[string]attestation.Config{
		"nothing":                 {},
		"a policy with its roots": {Policy: named, SimulatedRoots: roots},
		"a folder":                {Collateral: attestation.Collateral{Folder: t.TempDir()}},
		"services": {Collateral: attestation.Collateral{Folder: t.TempDir(), CA: roots,
			Services: map[string]string{"amd_kds": "vendor", "intel_pcs": "https://mirror.example.test/pcs"}}},
	} {
		if err := c.Check("attestation.", true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		j, end, err := c.Open(true, time.Now)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if j == nil {
			t.Errorf("%s: no judge", name)
		}
		if err := end.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

func TestWhatCantWorkIsToldByItsKey(t *testing.T) {
	strict := write(t, "policy.yaml", "sev_snp: {}\n")
	unsigned := write(t, "policy.yaml", "simulated: {unsigned: true}\n")
	unknown := write(t, "policy.yaml", "sev_snp: {}\nsimulated: {roots: ["+strings.Repeat("ab", 32)+"]}\n")
	folder := t.TempDir()
	for name, c := range map[string]struct {
		config    attestation.Config
		simulated bool
		want      string
	}{
		"a policy that isn't there":             {attestation.Config{Policy: "/nonexistent"}, true, "attestation.policy: open"},
		"a policy that is none":                 {attestation.Config{Policy: write(t, "p", "sgx: {}")}, true, "attestation.policy: read policy"},
		"a policy too large":                    {attestation.Config{Policy: write(t, "p", strings.Repeat("#", 1<<20+1))}, true, "bytes"},
		"simulated evidence that isn't allowed": {attestation.Config{Policy: unsigned}, false, "attestation.policy: it names simulated"},
		"a root that nobody gave":               {attestation.Config{Policy: unknown}, true, "attestation.policy: attestation policy: simulated.roots"},
		"roots that are none":                   {attestation.Config{Policy: strict, SimulatedRoots: strict}, true, "attestation.simulated_roots: read roots"},
		"a service without a folder": {attestation.Config{Collateral: attestation.Collateral{Services: map[string]string{"amd_kds": "vendor"}}}, true,
			"attestation.collateral.services: give a folder"},
		"an unknown service": {attestation.Config{Collateral: attestation.Collateral{Folder: folder, Services: map[string]string{"amd": "vendor"}}}, true,
			`"amd" is no service`},
		"plain http": {attestation.Config{Collateral: attestation.Collateral{Folder: folder, Services: map[string]string{"amd_kds": "http://x.example.test"}}}, true,
			"attestation.collateral.services"},
		"a CA that is none": {attestation.Config{Collateral: attestation.Collateral{Folder: folder, CA: strict, Services: map[string]string{"amd_kds": "vendor"}}}, true,
			"no certificate"},
		"a CA that isn't there": {attestation.Config{Collateral: attestation.Collateral{Folder: folder, CA: "/nonexistent", Services: map[string]string{"amd_kds": "vendor"}}}, true,
			"open /nonexistent"},
	} {
		err := c.config.Check("attestation.", c.simulated)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q in it", name, err, c.want)
		}
		if _, _, err := c.config.Open(c.simulated, time.Now); err == nil {
			t.Errorf("%s: it was opened", name)
		}
	}
}
