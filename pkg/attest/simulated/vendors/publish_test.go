package vendors_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

func failed(v *attest.Verdict) (names []string) {
	for _, c := range v.Failed() {
		names = append(names, c.Name)
	}
	return names
}

// counting counts what it is asked for.
type counting struct {
	collateral.Getter
	asked atomic.Int64
}

func (c *counting) Get(ctx context.Context, r collateral.Request) (*collateral.Document, error) {
	c.asked.Add(1)
	return c.Getter.Get(ctx, r)
}

func TestWithoutWhatIsPublishedSimulatedEvidenceIsRefused(t *testing.T) {
	v, dir := open(t)
	config := configOf(t, dir)
	config.SimulatedGetter = nil
	j, err := judge.New(config)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"SEV-SNP": {"revocation"}, "TDX": {"collateral"},
		"one Hopper": {"revocation", "gpu0_device_ocsp_response", "gpu0_driver_rim_found", "gpu0_vbios_rim_found"},
	} {
		d, e := shown(t, v, kinds()[name])
		got := failed(j.VerifyDocument(context.Background(), d, e))
		for _, check := range want {
			if !slices.Contains(got, check) {
				t.Errorf("%s: failed checks are %v, expected %s among them", name, got, check)
			}
		}
	}
}

// Whoever does not name a simulated root is not moved by what is published under it,
// wherever it comes from.
func TestSimulatedCollateralCountsForNobodyWhoDoesNotNameItsRoot(t *testing.T) {
	v, dir := open(t)
	config := configOf(t, dir)
	published := &counting{Getter: config.SimulatedGetter}
	strict, err := judge.New(judge.Config{Policy: judge.Vendors(), Getter: config.SimulatedGetter, SimulatedGetter: published, SimulatedRoots: config.SimulatedRoots})
	if err != nil {
		t.Fatal(err)
	}
	for name, spec := range kinds() {
		d, e := shown(t, v, spec)
		if verdict := strict.VerifyDocument(context.Background(), d, e); verdict.Accepted {
			t.Errorf("%s is accepted by a policy that names no simulated root", name)
		}
	}
	if n := published.asked.Load(); n > 0 {
		t.Errorf("the simulated vendors were asked for %d documents", n)
	}

	// A policy that names AMD's simulated root alone accepts that and nothing else.
	only := configOf(t, dir)
	only.Policy.Simulated.Roots = only.Policy.Simulated.Roots[:1]
	j, err := judge.New(only)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"SEV-SNP": true, "TDX": false, "one Hopper": false, "a pair of Blackwell": false} {
		d, e := shown(t, v, kinds()[name])
		if verdict := j.VerifyDocument(context.Background(), d, e); verdict.Accepted != want {
			t.Errorf("%s is accepted: %t, though the policy names AMD's simulated root only: %v", name, verdict.Accepted, verdict.Err())
		}
	}
}

// A real quote is judged under Intel's root: the simulated vendor's TCB info must not
// stand in for Intel's, whoever handed it over.
func TestSimulatedCollateralIsRefusedForARealQuote(t *testing.T) {
	vectors := os.Getenv("CASEMATE_VECTORS")
	if vectors == "" {
		t.Skip("NOT RUN: a real quote with simulated collateral; set CASEMATE_VECTORS to the folder that has tdx/")
	}
	quote, err := os.ReadFile(filepath.Join(vectors, "tdx", "tdx_quote"))
	if err != nil {
		t.Fatal(err)
	}
	_, dir := open(t)
	folders, err := filepath.Glob(filepath.Join(dir, vendors.CollateralFolder, "intel", "*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("published are %v, %v", folders, err)
	}
	c := &tdx.Collateral{}
	for name, into := range map[string]*[]byte{
		"tcb_info.json": &c.TCBInfo, "tcb_info_chain.pem": &c.TCBInfoChain, "qe_identity.json": &c.QEIdentity,
		"qe_identity_chain.pem": &c.QEIdentityChain, "pck.crl": &c.PCKCRL, "pck_crl_chain.pem": &c.PCKCRLChain, "root.crl": &c.RootCRL,
	} {
		if *into, err = os.ReadFile(filepath.Join(folders[0], name)); err != nil {
			t.Fatal(err)
		}
	}
	verifier, err := tdx.NewVerifier(tdx.Config{})
	if err != nil {
		t.Fatal(err)
	}
	got := failed(verifier.Verify(tdx.Evidence{Quote: quote}, c, tdx.Policy{Absent: tdx.AbsentListed}, time.Now()))
	for _, want := range []string{"tcb_info_signature", "qe_identity_signature", "pck_crl", "root_crl"} {
		if !slices.Contains(got, want) {
			t.Errorf("failed checks are %v, expected %s among them", got, want)
		}
	}
}

func TestWhatIsPublishedHoldsNoKeyAndIsRenewedInTime(t *testing.T) {
	_, dir := open(t)
	copied := filepath.Join(t.TempDir(), "vendor")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	info := func() []byte {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(copied, vendors.CollateralFolder, "intel", "*", "tcb_info.json"))
		if err != nil || len(files) != 1 {
			t.Fatalf("TCB infos %v, %v", files, err)
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first := info()
	for _, step := range []struct {
		after   time.Duration
		renewed bool
	}{{24 * time.Hour, false}, {250 * 24 * time.Hour, true}} {
		if _, err := vendors.Open(copied, time.Now().Add(step.after)); err != nil {
			t.Fatal(err)
		}
		if renewed := !bytes.Equal(first, info()); renewed != step.renewed {
			t.Errorf("opened after %s, the TCB info is a new one: %t", step.after, renewed)
		}
	}
	err := filepath.WalkDir(filepath.Join(copied, vendors.CollateralFolder), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "PRIVATE KEY") {
			t.Errorf("%s holds a private key", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Another firmware than the RIM's is noticed in a simulated device as in a real one.
func TestASimulatedDeviceIsMeasuredAgainstItsRIM(t *testing.T) {
	v, dir := open(t)
	spec := vendors.Spec{TEE: attest.FormatSEVSNP, GPUs: []string{"0"}, Architecture: nvidia.Hopper}
	d, e := shown(t, v, spec)
	copied := filepath.Join(t.TempDir(), "vendor")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	rims, err := filepath.Glob(filepath.Join(copied, vendors.CollateralFolder, "nvidia", "rim", "NV_GPU_DRIVER_GH100_*.xml"))
	if err != nil || len(rims) != 1 {
		t.Fatalf("RIMs %v, %v", rims, err)
	}
	text, err := os.ReadFile(rims[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(text, []byte(`Hash0="`)) + len(`Hash0="`)
	text[at] ^= 1
	if err := os.WriteFile(rims[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	got := failed(judgeOf(t, copied).VerifyDocument(context.Background(), d, e))
	if want := []string{"gpu0_driver_rim_signature", "gpu0_measurements"}; !slices.Equal(got, want) {
		t.Errorf("failed checks are %v, want %v", got, want)
	}
}
