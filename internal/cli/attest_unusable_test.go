package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
)

func TestArgumentsAndFilesThatCantBeUsedEndWithTwoAndSayNothingOnStdout(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string { return attestWrite(t, name, []byte(content)) }
	report := file("report.bin", "x")
	huge := attestWrite(t, "huge", make([]byte, maxAttestEvidence+1))
	absent := filepath.Join(dir, "absent")
	snp := []string{"--format", "sev-snp", "--evidence", report}
	tdx := []string{"--format", "tdx", "--evidence", report}
	gpu := []string{"--format", "nvidia", "--evidence", report}
	for _, c := range []struct {
		rule string
		base []string
		args []string
		says string
	}{
		{"no format", nil, []string{"--evidence", report}, "--format is"},
		{"unknown format", nil, []string{"--format", "sgx", "--evidence", report}, "--format is"},
		{"no evidence", nil, []string{"--format", "tdx"}, "--evidence"},
		{"empty name of the evidence", nil, []string{"--format", "tdx", "--evidence", ""}, "--evidence"},
		{"evidence that isn't there", nil, []string{"--format", "tdx", "--evidence", absent}, "no such file"},
		{"a folder as evidence", nil, []string{"--format", "tdx", "--evidence", dir}, "directory"},
		{"evidence of 4 MiB and a byte", nil, []string{"--format", "sev-snp", "--evidence", huge}, "larger than"},
		{"endless evidence", nil, []string{"--format", "sev-snp", "--evidence", "/dev/zero"}, "larger than"},
		{"unknown flag", snp, []string{"--vlek", report}, "unknown flag"},
		{"an argument", snp, []string{"more"}, "more"},
		{"a flag of another format", snp, []string{"--rims", dir}, "--rims has no meaning"},
		{"collateral for SNP", snp, []string{"--collateral", dir}, "--collateral has no meaning"},
		{"a VCEK for TDX", tdx, []string{"--vcek", report}, "--vcek has no meaning"},
		{"a nonce for TDX", tdx, []string{"--nonce", strings.Repeat("00", 32)}, "--nonce has no meaning"},
		{"another output", snp, []string{"-o", "xml"}, "--output"},
		{"a time in words", snp, []string{"--at", "yesterday"}, "--at"},
		{"a day without time", snp, []string{"--at", "2026-02-01"}, "--at"},
		{"an empty time", snp, []string{"--at", ""}, "--at"},
		{"a VCEK that isn't there", snp, []string{"--vcek", absent}, "--vcek"},
		{"no name of the VCEK", snp, []string{"--vcek", ""}, "--vcek is empty"},
		{"no name of the root", snp, []string{"--root", ""}, "--root"},
		{"no name of the collateral", tdx, []string{"--collateral", ""}, "--collateral is empty"},
		{"no name of the RIMs", gpu, []string{"--rims", ""}, "--rims is empty"},
		{"an empty nonce", gpu, []string{"--nonce", ""}, "--nonce is empty"},
		{"an endless VCEK", snp, []string{"--vcek", "/dev/zero"}, "larger than"},
		{"a chain that isn't there", snp, []string{"--chain", absent}, "--chain"},
		{"a CRL that isn't there", snp, []string{"--crl", absent}, "--crl"},
		{"a root that isn't there", snp, []string{"--root", absent}, "--root"},
		{"a root that is none", snp, []string{"--root", report}, "neither DER nor PEM"},
		{"an empty root", snp, []string{"--root", file("root", " \n")}, "no certificate"},
		{"a key as root", snp, []string{"--root", file("root", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}, "want CERTIFICATE"},
		{"a garbled certificate as root", tdx, []string{"--root", file("root", "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n")}, "--root"},
		{"a garbled certificate as GPU root", gpu, []string{"--root", file("root", "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n")}, "--root"},
		{"a policy that isn't there", snp, []string{"--policy", absent}, "--policy"},
		{"an empty name of the policy", snp, []string{"--policy", ""}, "--policy"},
		{"an empty policy", snp, []string{"--policy", file("p", "")}, "policy"},
		{"a policy for another format", snp, []string{"--policy", file("p", "tdx: {}")}, "sev_snp"},
		{"a policy with an unknown key", snp, []string{"--policy", file("p", "sev_snp: {measurements: any}")}, "measurements"},
		{"a policy with a short measurement", snp, []string{"--policy", file("p", "sev_snp: {measurement: [00]}")}, "measurement"},
		{"a policy that is no YAML", snp, []string{"--policy", file("p", "{")}, "policy"},
		{"a policy of 1 MiB and a byte", snp, []string{"--policy", file("p", strings.Repeat("#", 1<<20+1))}, "larger than"},
		{"collateral that isn't there", tdx, []string{"--collateral", absent}, "--collateral"},
		{"collateral that is a file", tdx, []string{"--collateral", report}, "no folder"},
		{"collateral with nothing in it", tdx, []string{"--collateral", dir}, "--collateral"},
		{"RIMs that aren't there", gpu, []string{"--rims", absent}, "--rims"},
		{"RIMs in a file", gpu, []string{"--rims", report}, "no folder"},
		{"OCSP responses that aren't there", gpu, []string{"--ocsp", absent}, "--ocsp"},
		{"a nonce that is too short", gpu, []string{"--nonce", "00"}, "--nonce"},
		{"a nonce that is no hex", gpu, []string{"--nonce", strings.Repeat("zz", 32)}, "--nonce"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			args := append([]string{"attest", "verify", "-o", "json"}, c.base...)
			runOffline(t, append(args, c.args...)...).wantUnusable(t, c.says)
		})
	}
}

func TestGarbageAsEvidenceIsRefusedByName(t *testing.T) {
	check := map[string]string{"sev-snp": "report_format", "tdx": "quote_format", "nvidia": "document_format"}
	for format, name := range check {
		for rule, content := range map[string][]byte{
			"empty":         {},
			"zeros":         make([]byte, 1184),
			"text":          []byte("no evidence at all"),
			"a megabyte":    bytes.Repeat([]byte{0xff}, 1<<20),
			"brackets":      bytes.Repeat([]byte("["), 4096),
			"a JSON object": []byte(`{"accepted":true}`),
		} {
			t.Run(format+" "+rule, func(t *testing.T) {
				file := attestWrite(t, "evidence", content)
				v := runOffline(t, "attest", "verify", "--format", format, "--evidence", file, "-o", "json").verdictOf(t)
				got := failedNames(v)
				// What has the size of evidence may fail for its version first.
				version := strings.Replace(name, "_format", "_version", 1)
				if !slices.Contains(got, name) && !slices.Contains(got, version) {
					t.Errorf("failed %v, want %s among them", got, name)
				}
			})
		}
	}
}

func TestGarbageAsCertificateOrResponseIsRefusedByName(t *testing.T) {
	signer, err := sevsnptest.NewSigner(sevsnp.Genoa, attestNow.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ev, err := signer.Sign(signer.Report())
	if err != nil {
		t.Fatal(err)
	}
	report, vcek := attestWrite(t, "report", ev.Report), attestWrite(t, "vcek", ev.VEK)
	root := attestWrite(t, "root.pem", signer.RootPEM())
	chain := attestWrite(t, "chain.pem", signer.Chain(sevsnp.VCEK))
	junk, nothing := attestWrite(t, "junk", []byte("junk")), attestWrite(t, "nothing", nil)
	allow := attestWrite(t, "policy.yaml", []byte("sev_snp: {allow_simulated: true}"))
	base := []string{"--format", "sev-snp", "--evidence", report}
	for _, r := range []recorded{
		{rule: "a simulated root that the policy names", args: []string{"--vcek", vcek, "--chain", chain, "--root", root, "--policy", allow}},
		{rule: "root and chain in one bundle", args: []string{"--vcek", vcek, "--root", chain, "--policy", allow}},
		{rule: "two roots", args: []string{"--vcek", vcek, "--chain", chain, "--root", root, "--root", genoaRoot(t), "--policy", allow}},
		{rule: "a simulated root that it doesn't name", args: []string{"--vcek", vcek, "--chain", chain, "--root", root}, failed: []string{"simulated"}},
		{rule: "a root that nobody named", args: []string{"--vcek", vcek, "--chain", chain}, failed: []string{"signature_chain"}},
		{rule: "junk as VCEK", args: []string{"--vcek", junk, "--root", chain}, failed: []string{"certificate_format"}},
		{rule: "junk as chain", args: []string{"--vcek", vcek, "--chain", junk, "--root", root}, failed: []string{"certificate_format"}},
		{rule: "nothing as VCEK", args: []string{"--vcek", nothing, "--root", chain}, failed: []string{"certificate_format"}},
		{rule: "nothing as chain", args: []string{"--vcek", vcek, "--chain", nothing, "--root", chain}, failed: []string{"certificate_format"}},
		{rule: "nothing as CRL", args: []string{"--vcek", vcek, "--root", chain, "--crl", nothing, "--policy", allow}, failed: []string{"revocation"}},
		{rule: "junk as CRL", args: []string{"--vcek", vcek, "--root", chain, "--crl", junk, "--policy", allow}, failed: []string{"revocation"}},
	} {
		r.args = append(slices.Clone(base), r.args...)
		t.Run(r.rule, r.check)
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.der"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, garbage, err := loadResponses(os.DirFS(dir)); err != nil || len(garbage) != 1 {
		t.Errorf("junk as OCSP response: garbage %v, error %v; want one piece of garbage", garbage, err)
	}
}

// genoaRoot writes the root of another simulated AMD.
func genoaRoot(t *testing.T) string {
	t.Helper()
	other, err := sevsnptest.NewSigner(sevsnp.Milan, attestNow.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return attestWrite(t, "other.pem", other.Chain(sevsnp.VCEK))
}

func TestWhatEvidenceSaysReachesATerminalCleaned(t *testing.T) {
	junk := attestWrite(t, "evidence.json", []byte("[{\"arch\":\"\x1b[31mHOPPER\"}]"))
	r := runOffline(t, "attest", "verify", "--format", "nvidia", "--evidence", junk)
	if r.code != 1 || strings.ContainsRune(r.out, 0x1b) || !strings.Contains(r.out, "✗ document_format") {
		t.Errorf("exit code %d, stdout %q; want 1 and the failed check without escapes", r.code, r.out)
	}
	r = runOffline(t, "attest", "verify", "--format", "nvidia", "--evidence", junk, "-o", "yaml")
	if r.code != 1 || !strings.Contains(r.out, "accepted: false") {
		t.Errorf("exit code %d, stdout %q; want 1 and YAML", r.code, r.out)
	}
	if json.Valid([]byte(r.out)) {
		t.Error("YAML was asked for, JSON came")
	}
}
