package nvidia_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

const fullPolicy = `
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
		DriverVersions: nvidia.Versions{"550.90.07", "570.124.06"}, MinimumDriver: "550.54.14",
		VBIOSVersions: nvidia.Versions{"96.00.9F.00.01", "96.10.6d.00.01"}, Modes: []nvidia.Mode{nvidia.ModeProtectedPCIe},
		GPUCount: &eight, SwitchCount: &four, ProtectedPCIe: nvidia.ProtectedPCIeRequired, RequireRIMs: &yes,
		RIMTime: nvidia.RIMTimeSignerExpired, RequireOCSP: &yes, OCSPGrace: 72 * time.Hour, DeviceRoots: []string{root},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnyVersionIsSaidInAFile(t *testing.T) {
	got, err := nvidia.ParsePolicy([]byte("{driver_versions: any, vbios_versions: [any]}"))
	if err != nil {
		t.Fatal(err)
	}
	want := nvidia.Policy{DriverVersions: nvidia.AnyVersion(), VBIOSVersions: nvidia.AnyVersion()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"{driver_versions: [any, \"550.90.07\"]}", "{vbios_versions: all}", "{minimum_driver: any}"} {
		if p, err := nvidia.ParsePolicy([]byte(text)); err == nil {
			t.Errorf("%s was read as %+v", text, p)
		}
	}
}

func TestPolicyFileIsStrict(t *testing.T) {
	for _, tc := range []struct{ rule, text, names string }{
		{"unknown keys", "{driver: [\"550.90.07\"]}", "driver"},
		{"keys of another case", "{GPU_count: 8}", "GPU_count"},
		{"keys twice", "{gpu_count: 8, gpu_count: 1}", "gpu_count"},
		{"the key that it stands under", "nvidia: {gpu_count: 8}", "nvidia"},
		{"an empty file", "", ""},
		{"an empty value", "{driver_versions: }", "empty"},
		{"an empty text", "{minimum_driver: \"\"}", "empty"},
		{"an empty list", "{driver_versions: []}", "driver_versions"},
		{"anchors", "{driver_versions: &a [\"550.90.07\"]}", "anchors"},
		{"tags", "{minimum_driver: !!str 550.90}", "tags"},
		{"keys merged in", "{minimum_driver: 550.90, <<: {gpu_count: 3}}", "merge"},
		{"two documents", "{gpu_count: 8}\n---\nnvidia: {}", ""},
		{"a driver that is not one", "{driver_versions: [latest]}", "driver_versions"},
		{"a minimum driver that is not one", "{minimum_driver: \"550\"}", "minimum_driver"},
		{"a VBIOS that is not one", "{vbios_versions: [\"96.00.9F.00\"]}", "vbios_versions"},
		{"an architecture that is not one", "{architectures: [AMPERE]}", "architectures"},
		{"a mode that is not one", "{modes: [cc]}", "modes"},
		{"a count below zero", "{gpu_count: -1}", "gpu_count"},
		{"a count that no host has", "{switch_count: 1000}", "switch_count"},
		{"a RIM time that is not one", "{rim_time: never}", "rim_time"},
		{"protected PCIe as a truth value", "{protected_pcie: true}", "protected_pcie"},
		{"a grace of years", "{ocsp_grace: 90000h}", "ocsp_grace"},
		{"a negative grace", "{ocsp_grace: -1h}", "ocsp_grace"},
		{"a root in upper case", "{device_roots: [\"" + strings.Repeat("0A", 32) + "\"]}", "device_roots"},
		{"a root too short", "{rim_roots: [\"0a\"]}", "rim_roots"},
		{"a list where a word belongs", "{rim_time: [now]}", ""},
		{"a megabyte", "{gpu_count: 8}\n#" + strings.Repeat("x", 1<<20), "larger"},
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

func TestPolicyWithinALargerFile(t *testing.T) {
	var file struct {
		NVIDIA nvidia.Policy `yaml:"nvidia"`
	}
	if err := yaml.Load([]byte("nvidia:\n  gpu_count: 8\n"), &file); err != nil {
		t.Fatal(err)
	}
	if file.NVIDIA.GPUCount == nil || *file.NVIDIA.GPUCount != 8 {
		t.Errorf("read %+v", file.NVIDIA)
	}
	for _, text := range []string{"nvidia: {gpus: 8}", "nvidia: {modes: []}", "nvidia: {gpu_count: 1, gpu_count: 2}"} {
		if err := yaml.Load([]byte(text), &file); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}
