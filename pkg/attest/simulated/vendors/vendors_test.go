package vendors_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
)

// folder is made once: its keys take a second.
var folder = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "vendors-test-")
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "vendor")
	_, err = vendors.Open(dir, time.Now())
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := folder(); err == nil {
		_ = os.RemoveAll(filepath.Dir(dir))
	}
	os.Exit(code)
}

func open(t *testing.T) (*vendors.Vendors, string) {
	t.Helper()
	dir, err := folder()
	if err != nil {
		t.Fatal(err)
	}
	v, err := vendors.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return v, dir
}

// judgeOf trusts what the folder's policy names, and looks into what is published.
func judgeOf(t *testing.T, dir string) *judge.Judge {
	t.Helper()
	j, err := judge.New(configOf(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func configOf(t *testing.T, dir string) judge.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, vendors.PolicyFile))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	rootText, err := os.ReadFile(filepath.Join(dir, vendors.RootsFile))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := judge.ParseRoots(rootText)
	if err != nil {
		t.Fatal(err)
	}
	published, err := collateral.NewCache(collateral.CacheConfig{Folder: filepath.Join(dir, vendors.CollateralFolder)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = published.Close() })
	return judge.Config{Policy: p, SimulatedRoots: roots, SimulatedGetter: published}
}

// show has a machine's guest make its document, as one process hands it to another.
func show(t *testing.T, v *vendors.Vendors, spec vendors.Spec, launch vendors.Launch, nonce [32]byte) *evidence.Document {
	t.Helper()
	text, err := v.Machine(spec)
	if err != nil {
		t.Fatal(err)
	}
	m, err := vendors.ParseMachine(text)
	if err != nil {
		t.Fatal(err)
	}
	d := &evidence.Document{Format: spec.TEE, Nonce: nonce, PlatformDigest: launch.HostData}
	if d.DeviceEvidence, err = m.Devices(nonce); err != nil {
		t.Fatal(err)
	}
	var auxiliary []byte
	if d.Report, auxiliary, err = m.Processor(launch)(d.ReportData()); err != nil {
		t.Fatal(err)
	}
	table, err := sevsnp.ParseCertTable(auxiliary)
	if err != nil {
		t.Fatal(err)
	}
	if table.VCEK != nil {
		d.Certificates = [][]byte{table.VCEK, table.ASK, table.ARK}
	}
	return d
}

// kinds are the machines that there are.
func kinds() map[string]vendors.Spec {
	eight := []string{"0", "1", "2", "3", "4", "5", "6", "7"}
	return map[string]vendors.Spec{
		"SEV-SNP":             {TEE: attest.FormatSEVSNP},
		"TDX":                 {TEE: attest.FormatTDX},
		"one Hopper":          {TEE: attest.FormatSEVSNP, GPUs: eight[:1], Architecture: nvidia.Hopper},
		"a Hopper board":      {TEE: attest.FormatSEVSNP, GPUs: eight, Architecture: nvidia.Hopper},
		"a pair of Blackwell": {TEE: attest.FormatTDX, GPUs: eight[:2], Architecture: nvidia.Blackwell},
	}
}

// documents are what the kinds of machines have shown, by the machine: eight GPUs take
// their time to sign under the race detector.
var documents sync.Map

// shown is what a machine shows, and what is expected of it.
func shown(t *testing.T, v *vendors.Vendors, spec vendors.Spec) (*evidence.Document, judge.Expect) {
	t.Helper()
	launch := vendors.Launch{Measurement: [48]byte{1}, HostData: [32]byte{2}}
	key := fmt.Sprint(spec)
	d, known := documents.Load(key)
	if !known {
		d, _ = documents.LoadOrStore(key, show(t, v, spec, launch, [32]byte{3}))
	}
	return d.(*evidence.Document), judge.Expect{
		Nonce: [32]byte{3}, PlatformDigest: launch.HostData, GPUs: len(spec.GPUs),
		Measurements: []judge.Measurement{{Launch: launch.Measurement}},
	}
}

// checksOf are the checks that rest on what vendors publish.
func checksOf(spec vendors.Spec) []string {
	out := []string{"revocation"}
	if spec.TEE == attest.FormatTDX {
		out = append(out, "collateral", "tcb_info_signature", "qe_identity_signature", "pck_crl", "root_crl", "collateral_freshness", "tcb_status")
	}
	if len(spec.GPUs) > 0 {
		for _, kind := range []string{"driver_rim", "vbios_rim"} {
			out = append(out, "gpu0_"+kind+"_found", "gpu0_"+kind+"_chain", "gpu0_"+kind+"_time", "gpu0_"+kind+"_signature", "gpu0_"+kind+"_ocsp_good")
		}
		out = append(out, "gpu0_device_ocsp_signature", "gpu0_device_ocsp_fresh", "gpu0_device_ocsp_good", "gpu0_measurements")
	}
	return out
}

func TestMachinesOfEveryKindAreAcceptedByTheFoldersPolicy(t *testing.T) {
	v, dir := open(t)
	j := judgeOf(t, dir)
	for name, spec := range kinds() {
		d, e := shown(t, v, spec)
		verdict := j.VerifyDocument(context.Background(), d, e)
		if !verdict.Accepted || !slices.Equal(verdict.Insecure, []string{evidence.MarkSimulated}) {
			t.Errorf("%s: marks %v, want simulated and no other: %v", name, verdict.Insecure, verdict.Err())
		}
		for _, check := range checksOf(spec) {
			if !slices.ContainsFunc(verdict.Checks, func(c attest.Check) bool { return c.Name == check && c.OK }) {
				t.Errorf("%s: %s was not checked", name, check)
			}
		}
	}
}

func TestAFolderIsMadeOnceAndKept(t *testing.T) {
	_, dir := open(t)
	before, err := os.ReadFile(filepath.Join(dir, vendors.RootsFile))
	if err != nil {
		t.Fatal(err)
	}
	_, dir = open(t)
	after, err := os.ReadFile(filepath.Join(dir, vendors.RootsFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the roots have changed, %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d entries beside the folder, %v: leavings of its making", len(entries), err)
	}
}

func TestAMachineHoldsNoKeyOfAnAuthority(t *testing.T) {
	v, dir := open(t)
	text, err := v.Machine(vendors.Spec{TEE: attest.FormatSEVSNP, GPUs: []string{"0"}, Architecture: nvidia.Hopper})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"amd.pem", "intel.pem", "nvidia.seed"} {
		secret, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(secret)) {
			if line = strings.TrimSpace(line); len(line) == 64 && strings.Contains(string(text), line) {
				t.Errorf("the machine has a line of %s", name)
			}
		}
	}
	again, err := v.Machine(vendors.Spec{TEE: attest.FormatSEVSNP, GPUs: []string{"0"}, Architecture: nvidia.Hopper})
	if err != nil || sha256.Sum256(again) != sha256.Sum256(text) {
		t.Errorf("the same GPU is another device the second time, %v", err)
	}
}

func TestWhatIsNoMachineIsRefused(t *testing.T) {
	v, dir := open(t)
	if _, err := v.Machine(vendors.Spec{TEE: attest.FormatSimulated}); err == nil {
		t.Error("a machine without a TEE was made")
	}
	if _, err := v.Machine(vendors.Spec{TEE: attest.FormatTDX, GPUs: []string{"0"}, Architecture: "VOLTA"}); err == nil {
		t.Error("a GPU of an unknown architecture was made")
	}
	for name, bad := range map[string]string{
		"nothing": "", "no TEE": "{}", "no processor": `{"tee":"tdx"}`, "no chip": `{"tee":"sev-snp","processor":"AAAA"}`,
	} {
		if _, err := vendors.ParseMachine([]byte(bad)); err == nil {
			t.Errorf("%s was read as a machine", name)
		}
	}
	damaged := filepath.Join(t.TempDir(), "vendor")
	if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "nvidia.seed"), []byte("seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vendors.Open(damaged, time.Now()); err == nil {
		t.Error("a damaged folder was opened")
	}
	if _, err := vendors.Open("/proc/nonexistent/vendor", time.Now()); err == nil {
		t.Error("a folder was made where none can be")
	}
}
