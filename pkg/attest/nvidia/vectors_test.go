package nvidia_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// vectors returns the folder of public evidence, or skips the test and says which
// set did not run.
func vectors(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CASEMATE_VECTORS")
	if dir == "" {
		t.Skip("NOT RUN: the public NVIDIA evidence, RIMs and OCSP responses; set CASEMATE_VECTORS to the folder that has nvidia/")
	}
	return filepath.Join(dir, "nvidia")
}

func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectors(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hexVector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimSpace(string(vector(t, name))))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parseEvidence(t testing.TB, document []byte) nvidia.Evidence {
	t.Helper()
	e, err := nvidia.ParseEvidence(document)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newVerifier(t testing.TB, c nvidia.Config) *nvidia.Verifier {
	t.Helper()
	v, err := nvidia.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func vectorRIMs(t testing.TB) *nvidia.RIMSet {
	t.Helper()
	rims, err := nvidia.LoadRIMs(os.DirFS(filepath.Join(vectors(t), "rim")))
	if err != nil {
		t.Fatal(err)
	}
	return rims
}

func vectorOCSP(t testing.TB) *nvidia.OCSPSet {
	t.Helper()
	set, err := nvidia.LoadOCSP(os.DirFS(filepath.Join(vectors(t), "ocsp")))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func h100(t testing.TB) nvidia.Evidence {
	t.Helper()
	e, err := nvidia.NewEvidence(nvidia.Hopper, vector(t, "evidence/h100_report.bin"), vector(t, "evidence/h100_chain.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func day(s string) time.Time {
	at, err := time.Parse("2006-01-02T15:04", s)
	if err != nil {
		panic(err)
	}
	return at
}

// failed joins the names of the failed checks.
func failed(v *attest.Verdict) string {
	var names []string
	for _, c := range v.Failed() {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

func TestPublicEvidenceIsAccepted(t *testing.T) {
	at := day("2026-02-01T00:00")
	for _, tc := range []struct {
		file     string
		devices  int
		topology bool
	}{
		{"hopper_evidence.json", 1, false},
		// Its certificate is on hold, which only a responder would say.
		{"hopper_evidence_cert_hold.json", 1, false},
		{"multi_gpu_hopper.json", 4, false},
		{"mpt_8x_b200.json", 8, false},
		{"ppcie_8x_h100_4_switches.json", 12, true},
		{"switch_evidence_ls10.json", 1, false},
	} {
		t.Run(tc.file, func(t *testing.T) {
			e := parseEvidence(t, vector(t, "evidence/"+tc.file))
			verdict := newVerifier(t, nvidia.Config{}).Verify(e, nil, nil, nvidia.Policy{PermitUnpinned: true}, nil, at)
			if err := verdict.Err(); err != nil {
				t.Fatal(err)
			}
			if len(e.Devices) != tc.devices {
				t.Errorf("%d devices, want %d", len(e.Devices), tc.devices)
			}
			if len(verdict.Insecure) != 0 {
				t.Errorf("marked insecure: %v", verdict.Insecure)
			}
			if got := passed(verdict, "topology_switches") && passed(verdict, "topology_gpus"); got != tc.topology {
				t.Errorf("topology checked: %t, want %t", got, tc.topology)
			}
		})
	}
}

func passed(v *attest.Verdict, name string) bool {
	for _, c := range v.Checks {
		if c.Name == name {
			return c.OK
		}
	}
	return false
}

func TestPublicEvidenceWithItsRIMs(t *testing.T) {
	rims := vectorRIMs(t)
	ls10 := parseEvidence(t, vector(t, "evidence/switch_evidence_ls10.json"))
	expired := []string{"gpu0_driver_rim_time", "gpu0_vbios_rim_time"}
	for _, tc := range []struct {
		rule     string
		evidence nvidia.Evidence
		at       string
		policy   nvidia.Policy
		failed   string
	}{
		{"H100 matches 550.90.07 and 96.00.9F.00.01", h100(t), "2026-02-01T00:00", nvidia.Policy{}, ""},
		{"both RIMs have expired by 2027", h100(t), "2027-01-01T00:00", nvidia.Policy{}, strings.Join(expired, " ")},
		{"the VBIOS RIM has expired in March 2026", h100(t), "2026-03-01T00:00", nvidia.Policy{}, expired[1]},
		{"an expired signer may be allowed", h100(t), "2027-01-01T00:00", nvidia.Policy{RIMTime: nvidia.RIMTimeSignerExpired}, ""},
		{"an expired authority is not a signer", h100(t), "2028-01-01T00:00", nvidia.Policy{RIMTime: nvidia.RIMTimeSignerExpired}, strings.Join(expired, " ")},
		{"no RIM was signed yet in 2023", h100(t), "2023-12-01T00:00", nvidia.Policy{RIMTime: nvidia.RIMTimeSignerExpired}, strings.Join(expired, " ")},
		{"no time compared", h100(t), "2028-01-01T00:00", nvidia.Policy{RIMTime: nvidia.RIMTimeNotChecked}, ""},
		{"LS10 matches 96.10.55.00.01", ls10, "2026-08-01T00:00", nvidia.Policy{}, ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			tc.policy.PermitUnpinned = true
			verdict := newVerifier(t, nvidia.Config{}).Verify(tc.evidence, rims, nil, tc.policy, nil, day(tc.at))
			if got := failed(verdict); got != tc.failed {
				t.Errorf("failed %q, want %q\n%v", got, tc.failed, verdict.Err())
			}
		})
	}
}

// The recorded responses are of two days: those for the device from 2025-08-21,
// those for RIMs from 2025-10-24, each good for a day.
func TestPublicOCSPResponses(t *testing.T) {
	e, set := h100(t), vectorOCSP(t)
	for _, tc := range []struct {
		rule   string
		rims   *nvidia.RIMSet
		at     string
		grace  time.Duration
		failed string
	}{
		{"device certificates are good on the day", nil, "2025-08-21T12:00", 0, ""},
		{"a response from the future is none", nil, "2025-08-20T12:00", 0, "gpu0_device_ocsp_response"},
		{"stale a day later", nil, "2025-08-23T12:00", 0, "gpu0_device_ocsp_fresh"},
		{"stale a month later", nil, "2025-09-21T00:00", 0, "gpu0_device_ocsp_fresh"},
		{"a month of grace", nil, "2025-09-21T00:00", 31 * 24 * time.Hour, ""},
		{"RIM certificates, the device's in grace", vectorRIMs(t), "2025-10-24T12:00", 65 * 24 * time.Hour, ""},
		{"RIM certificates, no grace", vectorRIMs(t), "2025-10-24T12:00", 0, "gpu0_device_ocsp_fresh"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			verdict := newVerifier(t, nvidia.Config{}).Verify(e, tc.rims, set, nvidia.Policy{OCSPGrace: tc.grace, PermitUnpinned: true}, nil, day(tc.at))
			if got := failed(verdict); got != tc.failed {
				t.Errorf("failed %q, want %q\n%v", got, tc.failed, verdict.Err())
			}
		})
	}
}

func TestPublicBadEvidenceIsRefusedForWhatIsWrong(t *testing.T) {
	at := day("2026-02-01T00:00")
	rim := func(file string) *nvidia.RIMSet {
		set, err := nvidia.NewRIMSet(map[string][]byte{
			"NV_GPU_DRIVER_GH100_550.90.07":         vector(t, "rim/"+file),
			"NV_GPU_VBIOS_1010_0200_882_96009F0001": vector(t, "rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	var forged nvidia.Evidence
	if e, err := nvidia.NewEvidence(nvidia.Hopper, hexVector(t, "evidence/hopperAttestationReportInvalidSignature.txt"), vector(t, "evidence/h100_chain.pem")); err != nil {
		t.Fatal(err)
	} else {
		forged = e
	}
	other, err := nvidia.NewEvidence(nvidia.Blackwell, hexVector(t, "evidence/blackwellAttestationReport.txt"), vector(t, "evidence/blackwellCertChain.txt"))
	if err != nil {
		t.Fatal(err)
	}
	swapped := h100(t)
	swapped.Devices[0].Chain = other.Devices[0].Chain
	for _, tc := range []struct {
		rule     string
		evidence nvidia.Evidence
		rims     *nvidia.RIMSet
		failed   string
	}{
		{"invalid report signature", forged, nil, "gpu0_report_signature gpu0_fwid"},
		{"chain of another GPU", swapped, nil, "gpu0_architecture gpu0_report_signature gpu0_fwid"},
		{"badly signed driver RIM", h100(t), rim("incorrect_signature_driver_rim.xml"), "gpu0_driver_rim_signature gpu0_driver_rim_version gpu0_measurements"},
		{"expired driver RIM of another version", h100(t), rim("NV_GPU_DRIVER_GH100_570.124.03_expired.xml"), "gpu0_driver_rim_time gpu0_driver_rim_signature gpu0_driver_rim_version gpu0_measurements"},
		{"altered driver RIM with other measurements", h100(t), rim("NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml"), "gpu0_driver_rim_signature gpu0_driver_rim_version gpu0_measurements"},
		{"well-signed RIM of another driver", h100(t), rim("NV_GPU_DRIVER_GH100_550.144.03.xml"), "gpu0_driver_rim_version gpu0_measurements"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			verdict := newVerifier(t, nvidia.Config{}).Verify(tc.evidence, tc.rims, nil, nvidia.Policy{PermitUnpinned: true}, nil, at)
			if got := failed(verdict); got != tc.failed {
				t.Errorf("failed %q, want %q\n%v", got, tc.failed, verdict.Err())
			}
		})
	}
	t.Run("Blackwell from its text files", func(t *testing.T) {
		if err := newVerifier(t, nvidia.Config{}).Verify(other, nil, nil, nvidia.Policy{PermitUnpinned: true}, nil, at).Err(); err != nil {
			t.Error(err)
		}
	})
}

// NVIDIA's example of four switches is one switch four times. Whoever only looks may
// see it; whoever counts or asks strictly may not be told that it is four.
func TestOneSwitchFourTimes(t *testing.T) {
	four := 4
	e := parseEvidence(t, vector(t, "evidence/multi_switch_ls10.json"))
	h := h100(t)
	for _, tc := range []struct {
		rule     string
		evidence nvidia.Evidence
		policy   nvidia.Policy
		failed   string
	}{
		{"looked at", e, nvidia.Policy{PermitUnpinned: true}, ""},
		{"counted", e, nvidia.Policy{PermitUnpinned: true, SwitchCount: &four}, "devices_distinct"},
		{"as all that a host has", nvidia.Evidence{Devices: e.Devices, System: true}, nvidia.Policy{PermitUnpinned: true}, "devices_distinct"},
		{"one GPU twice", nvidia.Evidence{Devices: append(h.Devices, h.Devices...)}, nvidia.Policy{PermitUnpinned: true}, "devices_distinct"},
		{"beside a GPU", nvidia.Evidence{Devices: append(h100(t).Devices, e.Devices...)}, nvidia.Policy{PermitUnpinned: true}, "devices_distinct"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			verdict := newVerifier(t, nvidia.Config{}).Verify(tc.evidence, nil, nil, tc.policy, nil, day("2026-02-01T00:00"))
			if got := failed(verdict); got != tc.failed {
				t.Errorf("failed %q, want %q\n%v", got, tc.failed, verdict.Err())
			}
		})
	}
	strict := nvidia.Policy{RequireRIMs: new(bool), RequireOCSP: new(bool), VBIOSVersions: nvidia.AnyVersion()}
	nonce := e.Devices[0].Stated.Nonce
	if got := failed(newVerifier(t, nvidia.Config{}).Verify(e, nil, nil, strict, nonce, day("2026-02-01T00:00"))); got != "devices_distinct" {
		t.Errorf("strictly: failed %q, want devices_distinct", got)
	}
}

func TestVerdictSurvivesJSON(t *testing.T) {
	verdict := newVerifier(t, nvidia.Config{}).Verify(h100(t), nil, nil, nvidia.Policy{PermitUnpinned: true}, nil, day("2026-02-01T00:00"))
	text, err := json.Marshal(verdict)
	if err != nil {
		t.Fatal(err)
	}
	var again attest.Verdict
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if !again.Accepted || again.Claims["gpu0_driver_version"] != "550.90.07" || again.Claims["gpu0_pdi"] != "431d480fe5e87274" {
		t.Errorf("claims after a round trip: %v", again.Claims)
	}
}
