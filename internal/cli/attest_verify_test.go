package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// recorded is evidence from the vectors as the files that the command takes.
type recorded struct {
	rule   string
	args   []string
	policy string
	failed []string // names of the checks that must fail; none means accepted
	listed string   // a key that must be listed as not pinned
}

func (r recorded) check(t *testing.T) {
	t.Helper()
	args := append([]string{"attest", "verify", "-o", "json"}, r.args...)
	if r.policy != "" {
		args = append(args, "--policy", attestWrite(t, "policy.yaml", []byte(r.policy)))
	}
	v := runOffline(t, args...).verdictOf(t)
	if got := failedNames(v); !slices.Equal(got, r.failed) {
		t.Errorf("failed checks %v, want %v\n%v", got, r.failed, v.Err())
	}
	if r.listed != "" && !slices.Contains(v.NotPinned, r.listed) {
		t.Errorf("not pinned: %v, want %s among them", v.NotPinned, r.listed)
	}
}

func TestRecordedReportsGetTheirVerdictFromTheCommandLine(t *testing.T) {
	dir := filepath.Join(attestVectors(t), "sevsnp")
	in := func(name string) string { return filepath.Join(dir, name) }
	milan := attestWrite(t, "milan.bin", attestUnhex(t, attestRead(t, in("milan-report.hex"))))
	chain := attestRead(t, in("milan-chain.pem"))
	ark := chain[bytes.Index(chain[1:], []byte("-----BEGIN"))+1:]
	inPEM := func(name string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: attestRead(t, in(name))})
	}
	vcek, other := inPEM("milan-vcek.der"), inPEM("milan2-vcek.der")
	const measured = "7a1e5c266c0108dbc9bb94fa926951320940915d0aafb42464bd88b579ea158d3e1a0dc39b2c60bd95b9c480cd81841f"
	first := []string{"--format", "sev-snp", "--evidence", milan, "--vcek", in("milan-vcek.der")}
	with := func(base []string, more ...string) []string { return append(slices.Clone(base), more...) }
	vlek := []string{"--format", "sev-snp", "--evidence", in("milan-vlek-report.bin"), "--vcek", in("milan-vlek.der")}
	for _, r := range []recorded{
		{rule: "Milan by the roots known here", args: first, listed: "measurement"},
		{rule: "Milan with its chain", args: with(first, "--chain", in("milan-chain.pem"))},
		{rule: "Milan under the root named", args: with(first, "--root", in("milan-chain.pem"))},
		{rule: "Milan under its root alone", args: with(first, "--root", attestWrite(t, "ark.pem", ark))},
		{rule: "Milan with a bundle that begins with the VCEK", args: with(first, "--chain", attestWrite(t, "bundle.pem", append(vcek, chain...)))},
		{rule: "a bundle that begins with another's VCEK", args: with(first, "--chain", attestWrite(t, "bundle.pem", append(other, chain...))), failed: []string{"signature_chain"}},
		{rule: "Milan until 2030-04-03", args: with(first, "--at", "2030-05-01T00:00:00Z"), failed: []string{"certificate_validity"}},
		{rule: "Milan is not Turin", args: with(first, "--root", in("turin-chain.pem")), failed: []string{"signature_chain"}},
		{rule: "the second Milan report", args: []string{"--format", "sev-snp", "--evidence", in("milan2-report.bin"), "--vcek", in("milan2-vcek.der")}},
		{rule: "the second until 2030-01-24", args: []string{"--format", "sev-snp", "--evidence", in("milan2-report.bin"), "--vcek", in("milan2-vcek.der"), "--at", "2030-02-01T00:00:00Z"}, failed: []string{"certificate_validity"}},
		{rule: "another chip's certificate", args: []string{"--format", "sev-snp", "--evidence", milan, "--vcek", in("milan2-vcek.der")}, failed: []string{"certificate_extensions", "report_signature"}},
		{rule: "no certificate", args: []string{"--format", "sev-snp", "--evidence", milan}, failed: []string{"certificate_format"}},
		{rule: "VLEK before 2025-12-10", args: with(vlek, "--at", "2025-12-01T00:00:00Z")},
		{rule: "VLEK after it", args: vlek, failed: []string{"certificate_validity"}},
		{rule: "the measurement pinned", args: first, policy: "sev_snp: {measurement: [" + measured + "]}", listed: "host_data"},
		{rule: "another measurement pinned", args: first, policy: "sev_snp: {measurement: [" + strings.Repeat("00", 48) + "]}", failed: []string{"measurement"}},
		{rule: "a TCB floor above it", args: first, policy: "sev_snp: {minimum_tcb: {bootloader: 3, tee: 0, snp: 9, microcode: 115}}", failed: []string{"tcb_floor"}},
	} {
		t.Run(r.rule, r.check)
	}
}

// pcsFolder writes recorded collateral as the folder that the command takes.
func pcsFolder(t testing.TB, recorded string) string {
	t.Helper()
	var w map[string]string
	if err := json.Unmarshal(attestRead(t, recorded), &w); err != nil {
		t.Fatal(err)
	}
	return attestFolder(t, map[string][]byte{
		"tcb_info.json":         fmt.Appendf(nil, `{"tcbInfo":%s,"signature":"%s"}`, w["tcb_info"], w["tcb_info_signature"]),
		"qe_identity.json":      fmt.Appendf(nil, `{"enclaveIdentity":%s,"signature":"%s"}`, w["qe_identity"], w["qe_identity_signature"]),
		"pck.crl":               attestUnhex(t, []byte(w["pck_crl"])),
		"root.crl":              attestUnhex(t, []byte(w["root_ca_crl"])),
		"tcb_info_chain.pem":    []byte(w["tcb_info_issuer_chain"]),
		"qe_identity_chain.pem": []byte(w["qe_identity_issuer_chain"]),
		"pck_crl_chain.pem":     []byte(w["pck_crl_issuer_chain"]),
	})
}

func TestRecordedQuotesGetTheirVerdictFromTheCommandLine(t *testing.T) {
	dir := filepath.Join(attestVectors(t), "tdx")
	quote, old := filepath.Join(dir, "tdx_quote"), filepath.Join(dir, "tdx_quote_outdated")
	pcs, pcsOld := pcsFolder(t, quote+"_collateral.json"), pcsFolder(t, old+"_collateral.json")
	garbled := pcsFolder(t, quote+"_collateral.json")
	if err := os.WriteFile(filepath.Join(garbled, "tcb_info.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	const then, later = "2025-06-25T00:00:00Z", "2026-03-01T00:00:00Z"
	const chainOnly = "tdx: {tcb: chain_only}"
	for _, r := range []recorded{
		{rule: "up to date while its collateral is valid", args: []string{"--format", "tdx", "--evidence", quote, "--collateral", pcs, "--at", then}, listed: "mr_td"},
		{rule: "collateral of another year", args: []string{"--format", "tdx", "--evidence", quote, "--collateral", pcs, "--at", later}, failed: []string{"collateral_freshness"}},
		{rule: "no collateral", args: []string{"--format", "tdx", "--evidence", quote, "--at", then}, failed: []string{"collateral"}},
		{rule: "chain alone", args: []string{"--format", "tdx", "--evidence", quote, "--at", later}, policy: chainOnly},
		{rule: "outdated", args: []string{"--format", "tdx", "--evidence", old, "--collateral", pcsOld, "--at", later}, failed: []string{"tcb_status"}},
		{rule: "outdated, chain alone", args: []string{"--format", "tdx", "--evidence", old, "--at", later}, policy: chainOnly},
		{rule: "garbled TCB info is refused, not unusable", args: []string{"--format", "tdx", "--evidence", quote, "--collateral", garbled, "--at", then}, failed: []string{"tcb_info_signature"}},
		{rule: "another MRTD pinned", args: []string{"--format", "tdx", "--evidence", quote, "--collateral", pcs, "--at", then}, policy: "tdx: {mr_td: [" + strings.Repeat("00", 48) + "]}", failed: []string{"mr_td"}},
		{rule: "the FMSPC in capitals pinned", args: []string{"--format", "tdx", "--evidence", quote, "--collateral", pcs, "--at", then}, policy: "tdx: {fmspc: B0C06F000000}"},
		{rule: "staleness allowed for all vendors", args: []string{"--format", "tdx", "--evidence", quote, "--collateral", pcs, "--at", "2025-08-01T00:00:00Z"}, policy: "tdx: {}\ncollateral: {allow_stale: 1440h}"},
	} {
		t.Run(r.rule, r.check)
	}
}

// attestFolder writes files into a folder of their own.
func attestFolder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sdkDocument writes recorded reports in the form of the attestation SDK.
func sdkDocument(t testing.TB, arch nvidia.Architecture, report, chain []byte) string {
	t.Helper()
	doc, err := json.Marshal([]map[string]string{{
		"arch":        string(arch),
		"certificate": base64.StdEncoding.EncodeToString(chain),
		"evidence":    base64.StdEncoding.EncodeToString(report),
		"nonce":       fmt.Sprintf("%x", report[4:36]),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return attestWrite(t, "evidence.json", doc)
}

func TestRecordedGPUEvidenceGetsItsVerdictFromTheCommandLine(t *testing.T) {
	dir := filepath.Join(attestVectors(t), "nvidia")
	in := func(name string) string { return filepath.Join(dir, "evidence", name) }
	report, chain := attestRead(t, in("h100_report.bin")), attestRead(t, in("h100_chain.pem"))
	h100 := sdkDocument(t, nvidia.Hopper, report, chain)
	forged := sdkDocument(t, nvidia.Hopper, attestUnhex(t, attestRead(t, in("hopperAttestationReportInvalidSignature.txt"))), chain)
	b200 := sdkDocument(t, nvidia.Blackwell, attestUnhex(t, attestRead(t, in("blackwellAttestationReport.txt"))), attestRead(t, in("blackwellCertChain.txt")))
	rims, ocsp, nonce := filepath.Join(dir, "rim"), filepath.Join(dir, "ocsp"), fmt.Sprintf("%x", report[4:36])
	alone := attestWrite(t, "one.json", bytes.Trim(attestRead(t, h100), "[]"))
	named := attestFolder(t, map[string][]byte{
		"driver.xml": attestRead(t, filepath.Join(rims, "NV_GPU_DRIVER_GH100_550.90.07.xml")),
		"vbios.xml":  attestRead(t, filepath.Join(rims, "NV_GPU_VBIOS_1010_0200_882_96009F0001.xml")),
	})
	noted := map[string][]byte{"README": []byte("recorded in August")}
	for _, level := range []string{"l2", "l3", "l4"} {
		noted[level+".response"] = attestRead(t, filepath.Join(ocsp, "test_gpu_certificate_"+level+"_base64encoded_ocsp_response.dat"))
	}
	responses := attestFolder(t, noted)
	cases := []recorded{
		{rule: "H100 with its RIMs", args: []string{"--evidence", h100, "--rims", rims, "--nonce", nonce}, listed: "ocsp"},
		{rule: "nonce in capitals", args: []string{"--evidence", h100, "--nonce", strings.ToUpper(nonce)}},
		{rule: "another nonce", args: []string{"--evidence", h100, "--nonce", strings.Repeat("00", 32)}, failed: []string{"gpu0_nonce"}},
		{rule: "H100 with RIMs that have expired", args: []string{"--evidence", h100, "--rims", rims, "--at", "2027-01-01T00:00:00Z"}, failed: []string{"gpu0_driver_rim_time", "gpu0_vbios_rim_time"}},
		{rule: "RIM time said", args: []string{"--evidence", h100, "--rims", rims, "--at", "2027-01-01T00:00:00Z"}, policy: "nvidia: {rim_time: signer_may_have_expired}"},
		{rule: "OCSP responses a month old", args: []string{"--evidence", h100, "--ocsp", ocsp, "--at", "2025-09-21T00:00:00Z"}, failed: []string{"gpu0_device_ocsp_fresh"}},
		{rule: "a month of grace", args: []string{"--evidence", h100, "--ocsp", ocsp, "--at", "2025-09-21T00:00:00Z"}, policy: "nvidia: {}\ncollateral: {allow_stale: 744h}"},
		{rule: "bad signature", args: []string{"--evidence", forged}, failed: []string{"gpu0_fwid", "gpu0_report_signature"}},
		{rule: "a driver that is too old", args: []string{"--evidence", h100}, policy: "nvidia: {minimum_driver: 570.0}", failed: []string{"gpu0_driver_version"}},
		{rule: "one switch four times, looked at", args: []string{"--evidence", in("multi_switch_ls10.json")}, listed: "switch_count"},
		{rule: "one switch four times, counted", args: []string{"--evidence", in("multi_switch_ls10.json")}, policy: "nvidia: {switch_count: 4}", failed: []string{"devices_distinct"}},
		{rule: "one entry alone", args: []string{"--evidence", alone}},
		{rule: "RIMs under names of one's own", args: []string{"--evidence", h100, "--rims", named}},
		{rule: "a folder without RIMs", args: []string{"--evidence", h100, "--rims", t.TempDir()}, failed: []string{"gpu0_driver_rim_found", "gpu0_vbios_rim_found"}},
		{rule: "a folder without responses", args: []string{"--evidence", h100, "--ocsp", t.TempDir()}, failed: []string{"gpu0_device_ocsp_response"}},
		{rule: "responses under names of one's own, beside a note", args: []string{"--evidence", h100, "--ocsp", responses, "--at", "2025-08-21T12:00:00Z"}},
		{rule: "B200 of text files", args: []string{"--evidence", b200}},
	}
	for _, name := range []string{"hopper_evidence", "hopper_evidence_cert_hold", "multi_gpu_hopper", "mpt_8x_b200", "ppcie_8x_h100_4_switches", "switch_evidence_ls10"} {
		cases = append(cases, recorded{rule: name, args: []string{"--evidence", in(name + ".json")}, listed: "rims"})
	}
	for _, r := range cases {
		r.args = append([]string{"--format", "nvidia"}, r.args...)
		t.Run(r.rule, r.check)
	}
}

func TestAVerdictInJSONIsAsWrittenDown(t *testing.T) {
	garbage := attestWrite(t, "report.bin", []byte("no report"))
	r := runOffline(t, "attest", "verify", "--format", "sev-snp", "--evidence", garbage, "-o", "json")
	r.verdictOf(t)
	attestGolden(t, "verify-garbage.json", r.out)

	dir := filepath.Join(attestVectors(t), "sevsnp")
	milan := attestWrite(t, "milan.bin", attestUnhex(t, attestRead(t, filepath.Join(dir, "milan-report.hex"))))
	args := []string{"attest", "verify", "--format", "sev-snp", "--evidence", milan, "--vcek", filepath.Join(dir, "milan-vcek.der")}
	r = runOffline(t, append(args, "-o", "json")...)
	r.verdictOf(t)
	attestGolden(t, "verify-milan.json", r.out)

	r = runOffline(t, args...)
	if r.code != 0 || r.err != "" {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	attestGolden(t, "verify-milan.txt", r.out)
}
