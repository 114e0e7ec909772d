package nvidia_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

const fullPolicy = `
nvidia:
  architectures: [HOPPER, LS10]
  driver_versions: ["550.90.07", "570.124.06"]
  minimum_driver: "550.54.14"
  vbios_versions: ["96.00.9F.00.01", "96.10.6d.00.01"]
  modes: [ppcie]
  gpu_count: 8
  switch_count: 4
  protected_pcie: required
  require_rims: true
  rim_time: signer_may_have_expired
  require_ocsp: true
  ocsp_grace: 72h
  allow_hold: false
  allow_debug: false
  device_roots: ["102bf659d541961 4"]
`

func TestPolicyFile(t *testing.T) {
	root := strings.Repeat("0a", 32)
	text := strings.Replace(fullPolicy, "102bf659d541961 4", root, 1)
	got, err := nvidia.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	yes, eight, four := true, 8, 4
	want := nvidia.Policy{
		Architectures:  []nvidia.Architecture{nvidia.Hopper, nvidia.LS10},
		DriverVersions: []string{"550.90.07", "570.124.06"}, MinimumDriver: "550.54.14",
		VBIOSVersions: []string{"96.00.9F.00.01", "96.10.6d.00.01"}, Modes: []nvidia.Mode{nvidia.ModeProtectedPCIe},
		GPUCount: &eight, SwitchCount: &four, ProtectedPCIe: nvidia.ProtectedPCIeRequired, RequireRIMs: &yes,
		RIMTime: nvidia.RIMTimeSignerExpired, RequireOCSP: &yes, OCSPGrace: 72 * time.Hour, DeviceRoots: []string{root},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyFileIsStrict(t *testing.T) {
	for _, tc := range []struct{ rule, text, names string }{
		{"unknown keys", "nvidia: {driver: [\"550.90.07\"]}", "driver"},
		{"keys of another case", "nvidia: {GPU_count: 8}", "GPU_count"},
		{"keys twice", "nvidia: {gpu_count: 8, gpu_count: 1}", "gpu_count"},
		{"another top-level key", "nvidia: {gpu_count: 8}\nother: 1", "other"},
		{"no nvidia key", "tdx: {}", ""},
		{"an empty file", "", ""},
		{"an empty value", "nvidia: {driver_versions: }", "empty"},
		{"an empty text", "nvidia: {minimum_driver: \"\"}", "empty"},
		{"an empty nvidia", "nvidia:", "empty"},
		{"an empty list", "nvidia: {driver_versions: []}", "driver_versions"},
		{"anchors", "nvidia: {driver_versions: &a [\"550.90.07\"]}", "anchors"},
		{"tags", "nvidia: {minimum_driver: !!str 550.90}", "tags"},
		{"two documents", "nvidia: {gpu_count: 8}\n---\nnvidia: {}", ""},
		{"a driver that is not one", "nvidia: {driver_versions: [latest]}", "driver_versions"},
		{"a minimum driver that is not one", "nvidia: {minimum_driver: \"550\"}", "minimum_driver"},
		{"a VBIOS that is not one", "nvidia: {vbios_versions: [\"96.00.9F.00\"]}", "vbios_versions"},
		{"an architecture that is not one", "nvidia: {architectures: [AMPERE]}", "architectures"},
		{"a mode that is not one", "nvidia: {modes: [cc]}", "modes"},
		{"a count below zero", "nvidia: {gpu_count: -1}", "gpu_count"},
		{"a count that no host has", "nvidia: {switch_count: 1000}", "switch_count"},
		{"a RIM time that is not one", "nvidia: {rim_time: never}", "rim_time"},
		{"protected PCIe as a truth value", "nvidia: {protected_pcie: true}", "protected_pcie"},
		{"a grace of years", "nvidia: {ocsp_grace: 90000h}", "ocsp_grace"},
		{"a negative grace", "nvidia: {ocsp_grace: -1h}", "ocsp_grace"},
		{"a root in upper case", "nvidia: {device_roots: [\"" + strings.Repeat("0A", 32) + "\"]}", "device_roots"},
		{"a root too short", "nvidia: {rim_roots: [\"0a\"]}", "rim_roots"},
		{"a list where a word belongs", "nvidia: {rim_time: [now]}", ""},
		{"a megabyte", "nvidia: {gpu_count: 8}\n#" + strings.Repeat("x", 1<<20), "larger"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			p, err := nvidia.ParsePolicy([]byte(tc.text))
			if err == nil {
				t.Fatalf("accepted as %+v", p)
			}
			if !strings.Contains(err.Error(), tc.names) {
				t.Errorf("%v does not name %s", err, tc.names)
			}
		})
	}
}

func TestStrictPolicyIsValid(t *testing.T) {
	p := nvidia.Strict()
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}
