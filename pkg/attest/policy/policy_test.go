package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// everyKey has all keys that the command line's contract names.
var everyKey = `
sev_snp:
  measurement: [` + hexes(48, "11") + `, ` + hexes(48, "22") + `]
  host_data: ` + hexes(32, "33") + `
  report_data: ` + hexes(64, "44") + `
  id_key_digest: ` + hexes(48, "55") + `
  author_key_digest: ` + hexes(48, "66") + `
  minimum_tcb: {bootloader: 3, tee: 0, snp: 8, microcode: 115}
  allow_debug: true
  allow_migration_agent: true
tdx:
  mr_td: [` + hexes(48, "11") + `]
  rtmr0: ` + hexes(48, "22") + `
  rtmr1: ` + hexes(48, "33") + `
  rtmr2: ` + hexes(48, "44") + `
  rtmr3: any
  mr_config_id: ` + hexes(48, "55") + `
  mr_owner: ` + hexes(48, "66") + `
  mr_owner_config: ` + hexes(48, "77") + `
  mr_seam: [` + hexes(48, "88") + `]
  mr_signer_seam: ` + hexes(48, "99") + `
  seam_attributes: ` + hexes(8, "00") + `
  td_attributes: ` + hexes(8, "10") + `
  xfam: ` + hexes(8, "e7") + `
  report_data: ` + hexes(64, "aa") + `
  minimum_tee_tcb_svn: ` + hexes(16, "01") + `
  minimum_tcb_evaluation_data_number: 17
  qe_vendor_id: 939a7233f79c4ca9940a0db3957f0607
  fmspc: b0c06f000000
  accepted_tcb_statuses: [UpToDate, SWHardeningNeeded]
  tcb: required
nvidia:
  minimum_driver: 550.90.07
collateral:
  allow_stale: 72h
`

func hexes(n int, digits string) string { return strings.Repeat(digits, n) }

func TestEveryKeyOfTheContractIsRead(t *testing.T) {
	p, err := policy.Parse([]byte(everyKey))
	if err != nil {
		t.Fatal(err)
	}
	snp, err := p.ForSEVSNP()
	if err != nil || !snp.Measurement.IsSet() || !snp.AuthorKeyDigest.IsSet() || snp.MinimumTCB.Microcode != 115 || !snp.AllowDebug || !snp.AllowMigrationAgent {
		t.Errorf("sev_snp is %+v, %v", snp, err)
	}
	td, err := p.ForTDX()
	if err != nil || len(td.MRTD.Values) != 1 || !td.RTMR3.Any || len(td.MRSEAM.Values) != 1 || td.MinimumTCBEvaluationDataNumber != 17 || len(td.AcceptedTCBStatuses) != 2 || td.TCB != tdx.Required {
		t.Errorf("tdx is %+v, %v", td, err)
	}
	gpu, err := p.ForNVIDIA()
	if err != nil || gpu.MinimumDriver != "550.90.07" {
		t.Errorf("nvidia is %+v, %v", gpu, err)
	}
	if td.AllowStaleCollateral != 72*time.Hour || gpu.OCSPGrace != 72*time.Hour || snp.AllowStaleCRL != 72*time.Hour {
		t.Errorf("staleness is %s, %s and %s, want the 72h said for all", td.AllowStaleCollateral, gpu.OCSPGrace, snp.AllowStaleCRL)
	}
	if got := p.Sections(); len(got) != 3 || got[0] != attest.FormatSEVSNP {
		t.Errorf("sections %v, want all three", got)
	}
}

func TestASectionsOwnStalenessComesFirst(t *testing.T) {
	p, err := policy.Parse([]byte("sev_snp: {allow_stale_crl: 3h}\ntdx: {allow_stale_collateral: 1h}\nnvidia: {ocsp_grace: 2h}\ncollateral: {allow_stale: 72h}"))
	if err != nil {
		t.Fatal(err)
	}
	td, _ := p.ForTDX()
	gpu, _ := p.ForNVIDIA()
	snp, _ := p.ForSEVSNP()
	if td.AllowStaleCollateral != time.Hour || gpu.OCSPGrace != 2*time.Hour || snp.AllowStaleCRL != 3*time.Hour {
		t.Errorf("staleness is %s, %s and %s, want 1h, 2h and 3h", td.AllowStaleCollateral, gpu.OCSPGrace, snp.AllowStaleCRL)
	}
}

func TestWhatIsLeftOutAcceptsNothing(t *testing.T) {
	for _, p := range []*policy.Policy{nil, {}} {
		_, snp := p.ForSEVSNP()
		_, td := p.ForTDX()
		_, gpu := p.ForNVIDIA()
		for _, err := range []error{snp, td, gpu} {
			if !errors.Is(err, policy.ErrNoSection) {
				t.Errorf("error %v, want %v", err, policy.ErrNoSection)
			}
		}
	}
	p, err := policy.Parse([]byte("sev_snp: {}\ntdx: {}\nnvidia: {}"))
	if err != nil {
		t.Fatal(err)
	}
	if p.SEVSNP.PermitUnpinned || p.TDX.Absent != tdx.AbsentRefused || p.NVIDIA.PermitUnpinned {
		t.Error("a file has made a policy lenient")
	}
	p.PermitUnpinned()
	if !p.SEVSNP.PermitUnpinned || p.TDX.Absent != tdx.AbsentListed || !p.NVIDIA.PermitUnpinned {
		t.Error("a command that looks is still strict")
	}
	if p, err = policy.Parse([]byte("simulated: {unsigned: true}")); err != nil || len(p.Sections()) != 1 || p.Sections()[0] != attest.FormatSimulated {
		t.Errorf("the policy that accepts unsigned evidence alone is %+v, %v", p, err)
	}
	look := policy.Look()
	if err := look.Validate(); err != nil || len(look.Sections()) != 3 || !look.SEVSNP.PermitUnpinned {
		t.Errorf("the policy that looks is %+v, %v", look, err)
	}
	(&policy.Policy{}).PermitUnpinned()
}

func TestFilesThatCouldBeMisreadAreRefused(t *testing.T) {
	for rule, text := range map[string]string{
		"nothing":                   "",
		"null":                      "null",
		"a list":                    "[]",
		"a text":                    "sev_snp",
		"no vendor":                 "collateral: {allow_stale: 1h}",
		"an unknown section":        "sev_snp: {}\nsgx: {}",
		"a section twice":           "tdx: {}\ntdx: {}",
		"a section without value":   "tdx:",
		"a section that is a list":  "tdx: []",
		"an unknown key":            "tdx: {mrtd: any}",
		"a key twice":               "tdx: {mr_td: any, mr_td: any}",
		"a key without value":       "tdx: {mr_td: }",
		"an anchor":                 "tdx: &a {}",
		"an alias":                  "tdx: &a {}\nnvidia: *a",
		"a merge key":               "tdx: {<<: {mr_td: any}}",
		"a tag":                     "tdx: !!map {}",
		"a tag of its own":          "tdx: {mr_td: !x any}",
		"two documents":             "tdx: {}\n---\nnvidia: {}",
		"a short measurement":       "sev_snp: {measurement: 1111}",
		"no hex":                    "tdx: {mr_td: zz}",
		"an empty list":             "sev_snp: {measurement: []}",
		"an unknown status":         "tdx: {accepted_tcb_statuses: [Fine]}",
		"revoked accepted":          "tdx: {accepted_tcb_statuses: [Revoked]}",
		"a level above a byte":      "sev_snp: {minimum_tcb: {snp: 256}}",
		"an unknown level":          "sev_snp: {minimum_tcb: {psp: 1}}",
		"leniency from a file":      "sev_snp: {permit_unpinned: true}",
		"leniency by another name":  "tdx: {absent: 1}",
		"a list stale for years":    "sev_snp: {allow_stale_crl: 8760h}",
		"staleness beyond reason":   "tdx: {}\ncollateral: {allow_stale: 2161h}",
		"staleness below zero":      "tdx: {}\ncollateral: {allow_stale: -1h}",
		"staleness without a unit":  "tdx: {}\ncollateral: {allow_stale: fast}",
		"an unknown collateral key": "tdx: {}\ncollateral: {max: 1h}",
		"simulated roots alone":     "simulated: {roots: [" + hexes(32, "11") + "]}",
		"a root in capitals":        "tdx: {}\nsimulated: {roots: [" + hexes(32, "AA") + "]}",
		"a short root":              "tdx: {}\nsimulated: {roots: [1111]}",
		"a root twice":              "tdx: {}\nsimulated: {roots: [" + hexes(32, "11") + ", " + hexes(32, "11") + "]}",
		"too many roots":            "tdx: {}\nsimulated: {roots: [" + strings.Repeat("x, ", 17) + "x]}",
		"an unknown simulated key":  "tdx: {}\nsimulated: {signed: true}",
		"a bad driver":              "nvidia: {minimum_driver: new}",
		"more than 1 MiB":           "tdx: {}\n" + strings.Repeat("#", policy.MaxFileBytes),
	} {
		if p, err := policy.Parse([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", rule, p)
		}
	}
}

func TestFaultsAreToldWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"tdx: {}\nsgx: {}":             "line 2",
		"tdx:\n  mr_td: any\n  foo: 1": "foo",
		"sev_snp:\n  measurement: 11":  "measurement",
	} {
		_, err := policy.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one that says %s", text, err, want)
		}
	}
}

func TestAPolicyWithinALargerFileIsAsStrict(t *testing.T) {
	var file struct {
		Policy policy.Policy `yaml:"policy"`
	}
	if err := yaml.Unmarshal([]byte("policy: {tdx: {mr_td: any}}"), &file); err != nil || file.Policy.TDX == nil {
		t.Errorf("policy %+v, %v", file.Policy, err)
	}
	if err := yaml.Unmarshal([]byte("policy: {tdx: {}, sgx: {}}"), &file); err == nil {
		t.Error("an unknown section passed in a larger file")
	}
}

func TestAPolicyMadeInGoIsChecked(t *testing.T) {
	for rule, p := range map[string]policy.Policy{
		"sev_snp":    {SEVSNP: &sevsnp.Policy{HostData: sevsnp.OneOf([]byte{1})}},
		"tdx":        {TDX: &tdx.Policy{MRTD: tdx.OneOf([]byte{1})}},
		"nvidia":     {NVIDIA: &nvidia.Policy{Modes: []nvidia.Mode{"shared"}}},
		"collateral": {Collateral: policy.Collateral{AllowStale: policy.MaxAllowStale + 1}},
	} {
		if err := p.Validate(); err == nil || !strings.HasPrefix(err.Error(), rule+": ") {
			t.Errorf("%s: error %v, want one that names it", rule, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everyKey))
	f.Add([]byte("sev_snp: {measurement: any}\n"))
	f.Add([]byte("tdx: &a {}\nnvidia: *a"))
	f.Add([]byte("nvidia: {gpu_count: 8}\ncollateral: {allow_stale: 1h}"))
	f.Add([]byte("--- {tdx: {}}\n...\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := policy.Parse(text)
		if err != nil {
			return
		}
		if len(p.Sections()) == 0 || p.Validate() != nil {
			t.Fatalf("read %q as %+v, which accepts nothing or makes no sense", text, p)
		}
		if p.SEVSNP != nil && p.SEVSNP.PermitUnpinned || p.TDX != nil && p.TDX.Absent != tdx.AbsentRefused || p.NVIDIA != nil && p.NVIDIA.PermitUnpinned {
			t.Fatalf("the file %q made a policy lenient", text)
		}
	})
}
