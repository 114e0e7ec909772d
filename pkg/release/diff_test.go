package release

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiffNamesWhatChanges(t *testing.T) {
	text := string(fixture(t, "full.yml"))
	image := "ghcr.io/acme/app:v1@sha256:"
	for _, tc := range []struct {
		rule, old, new string
		want           []Change
	}{
		{"nothing", "cpus: 16", "cpus: 16", nil},
		{"a comment", "# Every key", "# Each key", nil},
		{"an image", image + hex64("3"), image + hex64("5"),
			[]Change{{"containers[app].image", image + hex64("3"), image + hex64("5")}}},
		{"resources", "cpus: 16\nmemory: 65536\ngpus: 2", "cpus: 32\nmemory: 131072\ngpus: 4", []Change{
			{"cpus", "16", "32"}, {"gpus", "2", "4"}, {"memory", "65536 MiB", "131072 MiB"},
		}},
		{"a measured variable that opens", `LOG_LEVEL: "info"`, "LOG_LEVEL",
			[]Change{{"containers[app].env[LOG_LEVEL]", `"info"`, "from outside"}}},
		{"a container that goes by its name", "name: sidecar", "name: other",
			[]Change{{"containers[other]", "", present}, {"containers[sidecar]", present, ""}}},
		{"paths one by one", "[/health, /v1/*]", "[/v1/*, /v2/*]",
			[]Change{{"shim.paths[/health]", present, ""}, {"shim.paths[/v2/*]", "", present}}},
		{"a secret of one container", "secrets: [API_KEY, ", "secrets: [",
			[]Change{{"containers[app].secrets[API_KEY]", present, ""}, {"secrets[API_KEY]", present, ""}}},
		{"egress", "egress: open", "egress: closed", []Change{{"networks[wide].egress", "open", "closed"}}},
		{"a health check", "retries: 10", "retries: 11", []Change{{"containers[app].healthcheck",
			`"CMD" "curl" "-sf" "http://localhost:8000/health" every 15s, timeout 5s, 10 retries, start period 30m0s`,
			`"CMD" "curl" "-sf" "http://localhost:8000/health" every 15s, timeout 5s, 11 retries, start period 30m0s`}}},
		{"which gpus", `gpus: "0,1"`, "gpus: 1", []Change{{"containers[sidecar].gpus", "[0 1]", "the first 1"}}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if !strings.Contains(text, tc.old) {
				t.Fatalf("the fixture has no %q", tc.old)
			}
			before, _ := mustParse(t, []byte(text))
			after, _ := mustParse(t, []byte(strings.Replace(text, tc.old, tc.new, 1)))
			if diff := cmp.Diff(tc.want, Diff(Side{Config: before}, Side{Config: after})); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDiffOfInputs(t *testing.T) {
	c, _ := mustParse(t, fixture(t, "full.yml"))
	got := Diff(
		Side{c, map[string]string{"DOMAIN": "a", "OLD": ""}, map[string]string{"API_KEY": "1"}},
		Side{c, map[string]string{"DOMAIN": "b"}, map[string]string{"API_KEY": "2"}},
	)
	want := []Change{
		{"secret-versions[API_KEY]", "1", "2"}, {"variables[DOMAIN]", `"a"`, `"b"`}, {"variables[OLD]", `""`, ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// Every field of the spec must be seen by Diff: a plan that hides a change is
// worse than none.
func TestDiffSeesEveryKey(t *testing.T) {
	text := string(fixture(t, "full.yml"))
	full, _ := mustParse(t, []byte(text))
	bare, _ := mustParse(t, fixture(t, "minimal.yml"))
	seen := map[string]bool{}
	for _, change := range Diff(Side{Config: bare}, Side{Config: full}) {
		seen[strings.SplitN(strings.TrimPrefix(change.Path, "containers[app]."), "[", 2)[0]] = true
	}
	for key := range strings.FieldsSeq("cvm-version cvm-digest cpus memory gpus models volumes networks inbound-ports " +
		"image registry entrypoint command working_dir user env secrets tmpfs cap_add ports shm_size pids_limit read_only " +
		"restart stop_signal stop_timeout healthcheck shim.paths shim.origins shim.tls-mode shim.authenticated " +
		"shim.authenticated-endpoints shim.rate-limit shim.rate-burst") {
		if key != "cvm-version" && !seen[key] {
			t.Errorf("the change of %s is not listed", key)
		}
	}
}
