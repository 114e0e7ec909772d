package sevsnp_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// everything is a policy that asks for all there is, for the good synthetic report.
func everything(r *sevsnp.Report) *sevsnp.Policy {
	floor, yes, no, level := sevsnp.TCB{SNP: 1}, true, false, uint32(0)
	return &sevsnp.Policy{
		Measurement: sevsnp.OneOf(r.Measurement[:]), HostData: sevsnp.OneOf(r.HostData[:]), ReportData: sevsnp.OneOf(r.ReportData[:]),
		IDKeyDigest: sevsnp.OneOf(r.IDKeyDigest[:]), AuthorKeyDigest: sevsnp.OneOf(r.AuthorKeyDigest[:]),
		FamilyID: sevsnp.OneOf(r.FamilyID[:]), ImageID: sevsnp.OneOf(r.ImageID[:]), ChipIDs: sevsnp.OneOf(r.ChipID[:]),
		CSPIDs: []string{"CN=simulated"}, MinimumTCB: &floor, MinimumCommittedTCB: &floor, MinimumLaunchTCB: &floor,
		MinimumReportVersion: 5, MinimumGuestSVN: 1, AllowSMT: &no, AllowSimulated: true, RequireCRL: &yes, VMPL: &level,
		Signers: []string{"VLEK"}, Products: []string{"Genoa"}, GuestPolicyRequires: []string{"single_socket"}, PlatformRequires: []string{"ecc"},
	}
}

// A verdict's checks have these names in this order: dashboards and policies rely on it.
func TestChecksComeInADocumentedOrder(t *testing.T) {
	s := newSigner(t, sevsnp.Genoa)
	r := s.Report()
	r.Signer = 1<<2 | 1
	r.Policy = 1<<17 | sevsnp.PolicySingleSocket
	r.GuestSVN = 1
	ev, err := s.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	withCRL(born, noon.AddDate(1, 0, 0))(t, s, &ev)
	got := newVerifier(t, s.Roots()).Verify(ev, everything(r), noon)
	wantAccepted(t, got)
	var names []string
	for _, c := range got.Checks {
		names = append(names, c.Name)
		if c.Detail == "" {
			t.Errorf("%s has no detail", c.Name)
		}
	}
	const want = "report_format report_version report_signer certificate_format signature_chain simulated certificate_validity " +
		"revocation product certificate_extensions report_signature tcb_floor committed_tcb_floor launch_tcb_floor debug_off " +
		"migration_agent_off smt guest_policy platform_info vmpl guest_svn measurement host_data report_data id_key_digest " +
		"author_key_digest family_id image_id chip_id csp_id"
	if strings.Join(names, " ") != want {
		t.Errorf("checks %v, want %s", names, want)
	}
	if len(got.NotPinned) != 0 {
		t.Errorf("not pinned %v, want nothing", got.NotPinned)
	}
	wantDocumented(t, names)
}

func wantDocumented(t *testing.T, names []string) {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/attestation-checks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(doc), "\n## sev-snp\n")
	if !found {
		t.Fatal("docs/attestation-checks.md has no section sev-snp")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, n := range names {
		if !strings.Contains(section, "`"+n+"`") {
			t.Errorf("docs/attestation-checks.md doesn't speak of %s", n)
		}
	}
}

const verdictGolden = "testdata/milan_verdict.golden.json"

// The verdict on a real report, as JSON: claims and details are part of the contract.
func TestAVerdictInJSON(t *testing.T) {
	c := realEvidence(t)["milan, chain given"]
	got, err := json.MarshalIndent(newVerifier(t, nil).Verify(c.ev, look(), c.at), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(verdictGolden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(verdictGolden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("verdict:\n%s\nwant, by %s:\n%s", got, verdictGolden, want)
	}
}
