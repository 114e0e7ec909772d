package sevsnp_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"go.yaml.in/yaml/v4"
)

func hexOf(n int, b byte) string { return fmt.Sprintf("%x", bytes.Repeat([]byte{b}, n)) }

func TestPolicyReadsEveryKey(t *testing.T) {
	doc := `
measurement: [` + hexOf(48, 1) + `, ` + hexOf(48, 2) + `]
host_data: ` + hexOf(32, 3) + `
report_data: any
id_key_digest: ` + hexOf(48, 4) + `
author_key_digest: ` + hexOf(48, 5) + `
family_id: ` + hexOf(16, 6) + `
image_id: ` + hexOf(16, 7) + `
chip_ids: [` + hexOf(64, 8) + `, ` + hexOf(8, 9) + `]
csp_ids: [CN=cloud]
minimum_tcb: {bootloader: 3, tee: 0, snp: 20, microcode: 209}
minimum_committed_tcb: {snp: 20}
minimum_launch_tcb: {fmc: 1}
minimum_report_version: 3
minimum_guest_svn: 2
allow_debug: true
allow_migration_agent: true
allow_smt: false
allow_masked_chip_id: true
allow_simulated: true
require_crl: true
vmpl: 0
signers: [VCEK]
products: [Milan, Turin]
guest_policy_requires: [single_socket]
platform_requires: [ecc]
`
	p, err := sevsnp.ParsePolicy([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if !p.ReportData.IsAny() || !p.Measurement.IsSet() || p.Measurement.IsAny() || *p.AllowSMT || *p.VMPL != 0 {
		t.Errorf("read %+v", p)
	}
	if *p.MinimumTCB != (sevsnp.TCB{Bootloader: 3, SNP: 20, Microcode: 209}) || p.PermitUnpinned {
		t.Errorf("minimum TCB %+v, permit unpinned %v", p.MinimumTCB, p.PermitUnpinned)
	}
	out, err := yaml.Dump(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := sevsnp.ParsePolicy(out)
	if err != nil {
		t.Fatalf("reading back %s: %v", out, err)
	}
	if fmt.Sprint(again.Measurement, again.ChipIDs, *again.MinimumTCB) != fmt.Sprint(p.Measurement, p.ChipIDs, *p.MinimumTCB) {
		t.Errorf("wrote and read back %+v, want %+v", again, p)
	}
}

func TestPolicyIsReadStrictly(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"unknown key":                  {"host_data: any\nmesurement: any\n", "line 2"},
		"unknown key of a TCB":         {"minimum_tcb:\n  ucode: 1\n", "line 2"},
		"key twice":                    {"host_data: any\nhost_data: any\n", "host_data"},
		"measurement of another size":  {"\nmeasurement: " + hexOf(47, 1), "line 2"},
		"host data of another size":    {"host_data: " + hexOf(48, 1), "32"},
		"report data of another size":  {"report_data: " + hexOf(32, 1), "64"},
		"not hex":                      {"measurement: launch\n", "line 1"},
		"odd hex":                      {"measurement: abc\n", "line 1"},
		"empty list":                   {"measurement: []\n", "measurement"},
		"null":                         {"measurement:\n", "measurement"},
		"null flag":                    {"allow_smt:\n", "allow_smt"},
		"empty names":                  {"signers: []\n", "signers"},
		"unknown signer":               {"signers: [vcek]\n", "VCEK"},
		"unknown product":              {"products: [Milan-B0]\n", "Milan"},
		"unknown policy bit":           {"guest_policy_requires: [debug]\n", "single_socket"},
		"unknown platform bit":         {"platform_requires: [sgx]\n", "ecc"},
		"level beyond VMPL 3":          {"vmpl: 4\n", "0 to 3"},
		"floor without a level":        {"minimum_tcb: {}\n", "any"},
		"TCB level beyond a byte":      {"minimum_tcb: {snp: 256}\n", "256"},
		"negative TCB level":           {"minimum_tcb: {snp: -1}\n", "-1"},
		"a version nobody knows":       {"minimum_report_version: 6\n", "6"},
		"flag that is no flag":         {"allow_debug: perhaps\n", "perhaps"},
		"alias":                        {"measurement: &m any\nhost_data: *m\n", "anchors"},
		"merge key":                    {"minimum_tcb: &a {snp: 1}\nminimum_launch_tcb:\n  <<: *a\n", "anchors"},
		"a list":                       {"- measurement\n", "line 1"},
		"the switch that no file has":  {"permit_unpinned: true\n", "unknown key"},
		"two documents":                {"host_data: any\n---\nhost_data: any\n", ""},
		"longer than a policy must be": {strings.Repeat("#", 1<<20+1), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sevsnp.ParsePolicy([]byte(c.doc))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that names %q", err, c.want)
			}
		})
	}
}

// A policy stands under sev_snp in a file that another decoder reads.
func TestPolicyIsStrictUnderALenientDecoder(t *testing.T) {
	var doc struct {
		SNP *sevsnp.Policy `yaml:"sev_snp"`
	}
	if err := yaml.Unmarshal([]byte("sev_snp:\n  hostdata: any\n"), &doc); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v, want the unknown key with its line", err)
	}
	if err := yaml.Unmarshal([]byte("sev_snp:\n  host_data: any\n"), &doc); err != nil || !doc.SNP.HostData.IsAny() {
		t.Errorf("policy %+v, error %v", doc.SNP, err)
	}
}

func TestTheZeroPolicyAcceptsNothing(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	ev, err := s.Sign(s.Report())
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, s.Roots())
	got := v.Verify(ev, &sevsnp.Policy{AllowSimulated: true}, noon)
	var names []string
	for _, c := range got.Failed() {
		names = append(names, c.Name)
	}
	if got.Accepted || strings.Join(names, " ") != "revocation tcb_floor smt measurement host_data report_data chip_id" {
		t.Errorf("accepted %v, failed %v; want revocation list, floor, SMT, measurement, host data, report data and chip to be missed", got.Accepted, names)
	}
	wantRefused(t, v.Verify(ev, nil, noon), sevsnp.CheckPolicy)
	bad := &sevsnp.Policy{Measurement: sevsnp.OneOf([]byte{1})}
	wantRefused(t, v.Verify(ev, bad, noon), sevsnp.CheckPolicy)
	none := &sevsnp.Policy{Measurement: sevsnp.OneOf()}
	wantRefused(t, v.Verify(ev, none, noon), sevsnp.CheckPolicy)
	wantAccepted(t, v.Verify(ev, anything(), noon))
}

// anything is a strict policy that says of all it must say that anything will do.
func anything() *sevsnp.Policy {
	smt, crl := true, false
	return &sevsnp.Policy{
		AllowSimulated: true, AllowSMT: &smt, RequireCRL: &crl, MinimumTCB: &sevsnp.TCB{}, Measurement: sevsnp.Any(),
		HostData: sevsnp.Any(), ReportData: sevsnp.Any(), ChipIDs: sevsnp.Any(),
	}
}

// Each key that a strict policy must say is missed by the name of its check.
func TestWhatAStrictPolicyLeavesOutIsRefused(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	vcek, err := s.Sign(s.Report())
	if err != nil {
		t.Fatal(err)
	}
	r := s.Report()
	r.Signer = sevsnp.SignerInfo(sevsnp.VLEK) << 2
	vlek, err := s.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	no := false
	v := newVerifier(t, s.Roots())
	for name, c := range map[string]struct {
		ev     sevsnp.Evidence
		change func(*sevsnp.Policy)
		fails  string
	}{
		"nothing":                   {vcek, func(*sevsnp.Policy) {}, ""},
		"the revocation list":       {vcek, func(p *sevsnp.Policy) { p.RequireCRL = nil }, sevsnp.CheckRevocation},
		"the floor":                 {vcek, func(p *sevsnp.Policy) { p.MinimumTCB = nil }, sevsnp.CheckTCBFloor},
		"SMT":                       {vcek, func(p *sevsnp.Policy) { p.AllowSMT = nil }, sevsnp.CheckSMT},
		"SMT, which is forbidden":   {vcek, func(p *sevsnp.Policy) { p.AllowSMT = &no }, sevsnp.CheckSMT},
		"measurement":               {vcek, func(p *sevsnp.Policy) { p.Measurement = sevsnp.Pin{} }, sevsnp.CheckMeasurement},
		"host data":                 {vcek, func(p *sevsnp.Policy) { p.HostData = sevsnp.Pin{} }, sevsnp.CheckHostData},
		"report data":               {vcek, func(p *sevsnp.Policy) { p.ReportData = sevsnp.Pin{} }, sevsnp.CheckReportData},
		"the chip":                  {vcek, func(p *sevsnp.Policy) { p.ChipIDs = sevsnp.Pin{} }, sevsnp.CheckChipID},
		"a provider isn't a chip":   {vcek, func(p *sevsnp.Policy) { p.ChipIDs, p.CSPIDs = sevsnp.Pin{}, []string{"any"} }, sevsnp.CheckChipID},
		"the platform of a VLEK":    {vlek, func(p *sevsnp.Policy) { p.ChipIDs = sevsnp.Pin{} }, sevsnp.CheckCSPID},
		"a VLEK's chip is enough":   {vlek, func(*sevsnp.Policy) {}, ""},
		"any provider of a VLEK":    {vlek, func(p *sevsnp.Policy) { p.ChipIDs, p.CSPIDs = sevsnp.Pin{}, []string{"any"} }, ""},
		"the provider of a VLEK":    {vlek, func(p *sevsnp.Policy) { p.ChipIDs, p.CSPIDs = sevsnp.Pin{}, []string{"CN=simulated"} }, ""},
		"another provider's a VLEK": {vlek, func(p *sevsnp.Policy) { p.CSPIDs = []string{"CN=other"} }, sevsnp.CheckCSPID},
	} {
		t.Run(name, func(t *testing.T) {
			p := anything()
			c.change(p)
			got := v.Verify(c.ev, p, noon)
			if c.fails == "" {
				wantAccepted(t, got)
				return
			}
			if f := got.Failed(); len(f) == 1 && c.fails == sevsnp.CheckCSPID && f[0].Name == c.fails {
				return
			}
			wantRefused(t, got, c.fails)
		})
	}
}

func TestAFloorOfAnyIsSaidInAFile(t *testing.T) {
	p, err := sevsnp.ParsePolicy([]byte("minimum_tcb: any\nchip_ids: any\n"))
	if err != nil || p.MinimumTCB == nil || *p.MinimumTCB != (sevsnp.TCB{}) || !p.ChipIDs.IsAny() {
		t.Errorf("read %+v, error %v; want a floor of zeros", p, err)
	}
	for _, doc := range []string{"minimum_tcb: none", "minimum_tcb: [any]", "minimum_tcb: {any: 1}", "minimum_tcb: {snp: 1, snp: 2}"} {
		if p, err := sevsnp.ParsePolicy([]byte(doc)); err == nil {
			t.Errorf("%s was read as %+v", doc, p.MinimumTCB)
		}
	}
}

func TestWhatIsNotPinnedIsListed(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	ev, err := s.Sign(s.Report())
	if err != nil {
		t.Fatal(err)
	}
	got := newVerifier(t, s.Roots()).Verify(ev, simulated(), noon)
	for _, key := range []string{
		"measurement", "host_data", "report_data", "id_key_digest", "author_key_digest", "minimum_tcb",
		"allow_smt", "chip_ids", "vmpl", "require_crl",
	} {
		if !strings.Contains(" "+strings.Join(got.NotPinned, " ")+" ", " "+key+" ") {
			t.Errorf("not pinned %v, want %s among them", got.NotPinned, key)
		}
	}
}

func TestAllowedThingsAreAcceptedAndMarked(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	r := s.Report()
	r.Policy |= sevsnp.PolicyDebug | sevsnp.PolicyMigrationAgent
	ev, err := s.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	p := simulated()
	p.AllowDebug, p.AllowMigrationAgent = true, true
	got := newVerifier(t, s.Roots()).Verify(ev, p, noon)
	wantAccepted(t, got)
	if strings.Join(got.Insecure, " ") != "simulated debug" {
		t.Errorf("insecure %v, want simulated and debug", got.Insecure)
	}
}

// AMD's service may be out of order: how old its list may be is the policy's to say.
func TestAStaleListIsAcceptedOnlyWithinTheGrace(t *testing.T) {
	ev := signed(t, sevsnp.Milan)
	withCRL(born, noon.Add(-time.Hour))(t, newSigner(t, sevsnp.Milan), &ev)
	v := newVerifier(t, newSigner(t, sevsnp.Milan).Roots())
	p := simulated()
	wantRefused(t, v.Verify(ev, p, noon), sevsnp.CheckRevocation)
	p.AllowStaleCRL = 2 * time.Hour
	got := v.Verify(ev, p, noon)
	wantAccepted(t, got)
	if got.Claims["crl_stale"] != true {
		t.Error("the verdict doesn't say that the list is stale")
	}
	wantRefused(t, v.Verify(ev, p, noon.Add(2*time.Hour)), sevsnp.CheckRevocation)
	revoked := signed(t, sevsnp.Milan)
	withCRL(born, noon.Add(-time.Hour), 2)(t, newSigner(t, sevsnp.Milan), &revoked)
	wantRefused(t, v.Verify(revoked, p, noon), sevsnp.CheckRevocation)
}

func TestMaskedChipIDIsAcceptedIfAllowed(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	h := hostile{raw: func(b []byte) { clear(b[0x1A0:0x1E0]) }}
	ev := h.evidenceFor(t, s)
	v := newVerifier(t, s.Roots())
	p := simulated()
	p.AllowMaskedChipID = true
	wantAccepted(t, v.Verify(ev, p, noon))
	chip := s.Report().ChipID
	p.ChipIDs = sevsnp.OneOf(chip[:])
	wantAccepted(t, v.Verify(ev, p, noon)) // the key is that chip's
}
