package release

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// publicConfigs are config files of public repositories, by name, with the
// faults that are expected: "line path: part of the reason". Usable ones have
// none.
var publicConfigs = map[string][]string{
	"KurtykaLabs__tilde-runner.yml":                 nil,
	"OpenMined__syft-enclave-tinfoil.yml":           nil,
	"VitaDAO__aubrai-harness-tinfoil-config.yml":    nil,
	"aptos-labs__confidential-inference-router.yml": nil,
	"aptos-labs__confidential-qwen-cosmos-prod.yml": nil,
	"deevashwer__container-config.yml":              nil,
	"finitecomputer__finite-searxng-tinfoil.yml":    {"18 containers[0].image: is not pinned"},
	"jdrean__confidential-ubuntu-config.yml":        nil,
	"lsd-cat__tinfoil-functions-litewitness.yml":    nil,
	"opal-org__tinfoil-deploy.yml":                  nil,
	"screenpipe__privacy-filter.yml":                {"48 containers[0].ipc: write private"},
	"tinfoilanalytics__private-llama3.3-70b.yml":    {"1 containers: the oldest vintage"},
	"tinfoilsh__confidential-agent-sandbox.yml":     {"45 containers[0].image: all zeroes"},
	"tinfoilsh__confidential-audio-processing.yml":  {"24 containers[0].image: is not pinned", "28 containers[1].image: is not pinned"},
	"tinfoilsh__confidential-cpu-safeguards.yml":    {"25 containers[0].image: all zeroes"},
	"tinfoilsh__confidential-debug.yml":             {"11 containers[0].image: is not pinned"},
	"tinfoilsh__confidential-kimi-k3.yml":           nil,
	"tinfoilsh__confidential-model-router.yml":      nil,
	"tinfoilsh__tinfoil-containers-template.yml":    {"23 containers[0].image: placeholder"},
}

// TestPublicConfigs runs on the folder that CASEMATE_CONFIGS names: files of
// other people, which this repository does not carry.
func TestPublicConfigs(t *testing.T) {
	dir := os.Getenv("CASEMATE_CONFIGS")
	if dir == "" {
		t.Logf("NOT RUN: %d public config files; name their folder in CASEMATE_CONFIGS", len(publicConfigs))
		return
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if _, known := publicConfigs[filepath.Base(path)]; !known {
			t.Errorf("%s is not in the table", filepath.Base(path))
		}
	}
	for name, want := range publicConfigs {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			checkPublic(t, Check(File{name, data})[0], want)
		})
	}
}

func checkPublic(t *testing.T, report FileReport, want []string) {
	t.Helper()
	if report.Usable() != (len(want) == 0) || len(report.Faults) != len(want) {
		t.Fatalf("want faults %q, got %v", want, report.Faults)
	}
	for i, f := range report.Faults {
		place, reason, _ := strings.Cut(want[i], ": ")
		line, path, _ := strings.Cut(place, " ")
		if !strings.HasPrefix(f.String(), line+":") || f.Path != path || !strings.Contains(f.Reason, reason) {
			t.Errorf("want %q, got %v", want[i], f)
		}
	}
	for _, w := range report.Warnings {
		if w.Line < 1 || w.Column < 1 || w.Path == "" || w.Text == "" {
			t.Errorf("a warning without its place: %v", w)
		}
	}
}
