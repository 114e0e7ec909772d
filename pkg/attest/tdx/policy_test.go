package tdx_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

var hex48 = strings.Repeat("ab", 48)

// fullPolicy names every key of the contract.
var fullPolicy = `
mr_td: [` + hex48 + `, ` + strings.Repeat("cd", 48) + `]
rtmr0: ` + hex48 + `
rtmr1: ` + hex48 + `
rtmr2: "` + hex48 + `"
rtmr3: any
mr_config_id: ` + hex48 + `
mr_owner: ` + hex48 + `
mr_owner_config: ` + hex48 + `
mr_seam: [` + hex48 + `]
mr_signer_seam: ` + strings.Repeat("0", 96) + `
seam_attributes: "0000000000000000"
td_attributes: "0000001000000000"
xfam: e702060000000000
report_data: ` + strings.Repeat("12", 64) + `
minimum_tee_tcb_svn: 05010300000000000000000000000000
minimum_tcb_evaluation_data_number: 17
qe_vendor_id: 939a7233f79c4ca9940a0db3957f0607
fmspc: B0C06F000000
accepted_tcb_statuses: [UpToDate, SWHardeningNeeded]
tcb: required
`

func TestPolicyReadsEveryKey(t *testing.T) {
	p, err := tdx.ParsePolicy([]byte(fullPolicy + "allow_stale_collateral: 48h\nallow_debug: true\nppid: any\nmr_service_td: any\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.MRTD.Values) != 2 || !p.RTMR3.Any || hex.EncodeToString(p.FMSPC.Values[0]) != "b0c06f000000" ||
		p.MinimumTCBEvaluationDataNumber != 17 || len(p.AcceptedTCBStatuses) != 2 || p.TCB != tdx.Required ||
		len(p.ReportData.Values[0]) != 64 || p.AllowStaleCollateral != 48*time.Hour || !p.AllowDebug || p.Absent != tdx.AbsentRefused {
		t.Errorf("policy was read wrongly: %+v", p)
	}
	if p.SEAMAttributes.Values[0] == nil || len(p.MRSignerSEAM.Values[0]) != 48 {
		t.Errorf("values of zeros alone were not read as hexadecimal text: %+v", p)
	}
}

func TestPolicyIsReadBeneathItsKeyOfALargerFile(t *testing.T) {
	var file struct {
		TDX tdx.Policy `yaml:"tdx"`
	}
	doc := "tdx:" + strings.ReplaceAll(fullPolicy, "\n", "\n  ")
	if err := yaml.Load([]byte(doc), &file, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	if len(file.TDX.MRTD.Values) != 2 || file.TDX.Validate() != nil {
		t.Errorf("policy was read wrongly: %+v", file.TDX)
	}
	for name, doc := range map[string]string{
		"an unknown key": "tdx: {mr_dt: any}", "a key twice": "tdx: {mr_td: any, mr_td: any}", "a null": "tdx: {mr_td: ~}",
		"an alias": "a: &x any\ntdx: {mr_td: *x}", "a value of a wrong size": "tdx: {mr_td: abcd}",
	} {
		file.TDX = tdx.Policy{}
		if err := yaml.Load([]byte(doc), &file); err == nil {
			t.Errorf("%s was accepted: %+v", name, file.TDX)
		}
	}
}

func TestPolicyRefuses(t *testing.T) {
	for name, doc := range map[string]string{
		"an empty document":       "",
		"an unknown key":          "mr_dt: any",
		"a key twice":             "mr_td: any\nmr_td: any",
		"an alias":                "mr_td: &x any\nrtmr0: *x",
		"a key without a value":   "mr_td:",
		"a null":                  "mr_td: ~",
		"an empty list":           "mr_td: []",
		"a null in a list":        "mr_td: [~]",
		"a list in a list":        "mr_td: [[" + hex48 + "]]",
		"a mapping":               "mr_td: {any: true}",
		"odd hexadecimal digits":  "mr_td: abc",
		"no hexadecimal digits":   "mr_td: hello!",
		"a value of a wrong size": "mr_td: abcd",
		"any beside values":       "mr_td: [any, " + hex48 + "]",
		"an unknown status":       "accepted_tcb_statuses: [Fine]",
		"the status Revoked":      "accepted_tcb_statuses: [Revoked]",
		"an empty status list":    "accepted_tcb_statuses: []",
		"an unknown tcb mode":     "tcb: sometimes",
		"two floors":              "minimum_tee_tcb_svn: [" + strings.Repeat("00", 16) + ", " + strings.Repeat("01", 16) + "]",
		"a negative number":       "minimum_tcb_evaluation_data_number: -1",
		"a negative staleness":    "allow_stale_collateral: -1h",
		"staleness of a year":     "allow_stale_collateral: 8760h",
		"keys merged in":          "rtmr0: any\n<<: {mr_td: any}",
		"a tag":                   "mr_td: !!str any",
		"a second document":       "tcb: required\n---\ntcb: chain_only",
		"a list as the document":  "- tcb",
		"the key tdx itself":      "tdx: {tcb: required}",
		"more than a quarter MiB": "# " + strings.Repeat("x", 256<<10) + "\ntcb: required",
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := tdx.ParsePolicy([]byte(doc)); err == nil {
				t.Errorf("expected an error, got %+v", p)
			}
		})
	}
}

// boundKeys are what a strict policy must name.
var boundKeys = []string{"ppid", "mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mr_config_id", "mr_owner", "mr_owner_config", "report_data"}

func TestStrictPolicyRefusesWhatItLeavesOut(t *testing.T) {
	s := newScene(t, 4, 2)
	s.policy = tdx.Policy{}
	mustRefuse(t, s.run(t), boundKeys...)
	s.policy = allAny()
	verdict := s.run(t)
	mustAccept(t, verdict)
	for _, k := range boundKeys {
		if !slices.Contains(verdict.NotPinned, k) {
			t.Errorf("%s says any and is not listed as not pinned", k)
		}
	}
}

// Collateral is the floor of the TCB; without it the policy has to name one.
func TestAStrictPolicyWithoutCollateralNamesTheFloor(t *testing.T) {
	s := newScene(t, 4, 2)
	s.policy = allAny()
	s.policy.TCB = tdx.ChainOnly
	mustRefuse(t, s.run(t), "minimum_tee_tcb_svn")
	s.policy.MinimumTEETCBSVN = tdx.AnyValue()
	mustAccept(t, s.run(t))
	s.policy.MinimumTEETCBSVN = tdx.OneOf(s.quote.Body.TEETCBSVN[:])
	mustAccept(t, s.run(t))
}

func TestVerdictListsWhatWasNotPinned(t *testing.T) {
	s := newScene(t, 5, 3)
	verdict := s.run(t)
	mustAccept(t, verdict)
	want := append(slices.Clone(boundKeys), "fmspc", "td_attributes", "xfam", "mr_seam", "minimum_tee_tcb_svn", "minimum_tcb_evaluation_data_number")
	got := slices.Clone(verdict.NotPinned)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("not pinned are %v, expected %v", got, want)
	}
}

func TestPinnedEverythingIsAcceptedAndListsNothing(t *testing.T) {
	s := newScene(t, 5, 3)
	b := &s.quote.Body
	s.policy = tdx.Policy{
		MRTD: tdx.OneOf(make([]byte, 48), b.MRTD[:]), RTMR0: tdx.OneOf(b.RTMR[0][:]), RTMR1: tdx.OneOf(b.RTMR[1][:]),
		RTMR2: tdx.OneOf(b.RTMR[2][:]), RTMR3: tdx.OneOf(b.RTMR[3][:]), MRConfigID: tdx.OneOf(b.MRConfigID[:]),
		MROwner: tdx.OneOf(b.MROwner[:]), MROwnerConfig: tdx.OneOf(b.MROwnerConfig[:]), ReportData: tdx.OneOf(b.ReportData[:]),
		MRSEAM: tdx.OneOf(b.MRSEAM[:]), MRSignerSEAM: tdx.OneOf(b.MRSignerSEAM[:]), SEAMAttributes: tdx.OneOf(b.SEAMAttributes[:]),
		TDAttributes: tdx.OneOf(b.TDAttributes[:]), XFAM: tdx.OneOf(b.XFAM[:]), MRServiceTD: tdx.OneOf(b.MRServiceTD[:]),
		FMSPC: tdx.OneOf(s.ext.FMSPC[:]), PPID: tdx.OneOf(s.ext.PPID[:]), QEVendorID: tdx.OneOf(s.quote.Header.QEVendorID[:]),
		MinimumTEETCBSVN: tdx.OneOf(b.TEETCBSVN[:]), MinimumTCBEvaluationDataNumber: 17,
	}
	verdict := s.run(t)
	mustAccept(t, verdict)
	if len(verdict.NotPinned) != 0 {
		t.Errorf("listed as not pinned: %v", verdict.NotPinned)
	}
}

func TestStaleCollateralIsAcceptedOnlyWithinTheGrace(t *testing.T) {
	s := newScene(t, 4, 2)
	s.at = testTime.Add(31 * 24 * time.Hour)
	mustRefuse(t, s.run(t), "collateral_freshness")
	s.policy.AllowStaleCollateral = 48 * time.Hour
	verdict := s.run(t)
	mustAccept(t, verdict)
	if verdict.Claims["collateral_stale"] != true {
		t.Error("the verdict doesn't say that the collateral is stale")
	}
	s.at = testTime.Add(33 * 24 * time.Hour)
	mustRefuse(t, s.run(t), "collateral_freshness")
}

func TestDebugTDIsMarked(t *testing.T) {
	s := newScene(t, 4, 2)
	s.quote.Body.TDAttributes[0] = 1
	s.policy.AllowDebug = true
	verdict := s.run(t)
	mustAccept(t, verdict)
	if !slices.Contains(verdict.Insecure, tdx.MarkDebug) {
		t.Errorf("marks are %v, expected %s", verdict.Insecure, tdx.MarkDebug)
	}
}

func TestChainOnlyStillRefusesADebugQuotingEnclave(t *testing.T) {
	s := newScene(t, 4, 2)
	s.policy.TCB = tdx.ChainOnly
	s.quote.QEReport.Attributes[0] |= 2
	mustRefuse(t, s.run(t), "qe_identity")
}

func TestChecksComeInOneOrderAndUnderDistinctNames(t *testing.T) {
	first, second := newScene(t, 5, 3).run(t), newScene(t, 5, 3).run(t)
	var names []string
	for i, c := range first.Checks {
		if c.Name != second.Checks[i].Name {
			t.Errorf("check %d is %s and then %s", i, c.Name, second.Checks[i].Name)
		}
		if slices.Contains(names, c.Name) {
			t.Errorf("check %s was made twice", c.Name)
		}
		names = append(names, c.Name)
	}
	if !bytes.HasPrefix([]byte(strings.Join(names, " ")), []byte("quote_format quote_version qe_vendor_id pck_chain pck_validity")) {
		t.Errorf("checks begin with %v", names[:5])
	}
}
