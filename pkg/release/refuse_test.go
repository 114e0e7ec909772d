package release

import (
	"errors"
	"strings"
	"testing"
)

// patched is minimal.yml with lines put in: under the container, under the
// shim, and at the top level.
func patched(t testing.TB, container, shim, top string) []byte {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(string(fixture(t, "minimal.yml")), "\n"), "\n")
	var out []string
	for _, line := range lines {
		switch line {
		case "shim:":
			out = append(out, indented("    ", container)...)
			out = append(out, line)
		default:
			out = append(out, line)
		}
	}
	out = append(out, indented("  ", shim)...)
	out = append(out, indented("", top)...)
	return []byte(strings.Join(out, "\n") + "\n")
}

func indented(prefix, block string) []string {
	if block == "" {
		return nil
	}
	var out []string
	for line := range strings.SplitSeq(block, "\n") {
		out = append(out, prefix+line)
	}
	return out
}

// refusal is a file that must be refused, with the place and a part of the
// reason of its first fault.
type refusal struct {
	rule                 string
	container, shim, top string
	path                 string
	line                 int
	reason               string
}

func checkRefusals(t *testing.T, table []refusal) {
	t.Helper()
	for _, tc := range table {
		t.Run(tc.rule, func(t *testing.T) {
			data := patched(t, tc.container, tc.shim, tc.top)
			_, _, err := Parse("casemate.yml", data)
			var refused *ParseError
			if !errors.As(err, &refused) {
				t.Fatalf("the file was taken:\n%s", data)
			}
			f := refused.Faults[0]
			if f.Path != tc.path || f.Line != tc.line || f.Column < 1 || !strings.Contains(f.Reason, tc.reason) {
				t.Errorf("got fault %v, want one at line %d, path %s, with %q in its reason:\n%s",
					f, tc.line, tc.path, tc.reason, data)
			}
			if len(refused.Faults) > 1 {
				t.Errorf("one mistake gave more faults: %v", refused.Faults[1:])
			}
		})
	}
}

// In minimal.yml the container's added keys begin on line 7, the shim's on
// line 9 when nothing is added before, and so does the top level.

func TestContainerRefusals(t *testing.T) {
	c0 := "containers[0]."
	checkRefusals(t, []refusal{
		{rule: "privileged", container: "privileged: false", path: c0 + "privileged", line: 7, reason: "own the whole enclave"},
		{rule: "cap_drop", container: "cap_drop: [ALL]", path: c0 + "cap_drop", line: 7, reason: "dropped already"},
		{rule: "security_opt", container: "security_opt: []", path: c0 + "security_opt", line: 7, reason: "no-new-privileges"},
		{rule: "pid", container: "pid: host", path: c0 + "pid", line: 7, reason: "process namespace"},
		{rule: "devices", container: "devices: [/dev/kvm]", path: c0 + "devices", line: 7, reason: "no devices besides GPUs"},
		{rule: "ipc host", container: "ipc: host", path: c0 + "ipc", line: 7, reason: "shm_size"},
		{rule: "ipc of another kind", container: "ipc: weird", path: c0 + "ipc", line: 7, reason: "private or none"},
		{rule: "another runtime", container: "runtime: runc\ngpus: all", top: "gpus: 1", path: c0 + "runtime", line: 7, reason: "nvidia"},
		{rule: "gpus without runtime", container: "gpus: all", top: "gpus: 1", path: c0 + "gpus", line: 7, reason: "needs runtime: nvidia"},
		{rule: "runtime without gpus", container: "runtime: nvidia", top: "gpus: 1", path: c0 + "runtime", line: 7, reason: "needs gpus"},
		{rule: "gpus of an enclave without", container: "runtime: nvidia\ngpus: all", path: c0 + "gpus", line: 8, reason: "has no GPUs"},
		{rule: "more gpus than there are", container: "runtime: nvidia\ngpus: 2", top: "gpus: 1", path: c0 + "gpus", line: 8, reason: "the enclave has 1"},
		{rule: "a gpu that is not there", container: "runtime: nvidia\ngpus: \"0,7\"", top: "gpus: 2", path: c0 + "gpus", line: 8, reason: "no GPU 7"},
		{rule: "a gpu named twice", container: "runtime: nvidia\ngpus: \"0,0\"", top: "gpus: 2", path: c0 + "gpus", line: 8, reason: "twice"},
		{rule: "gpus in words", container: "runtime: nvidia\ngpus: some", top: "gpus: 2", path: c0 + "gpus", line: 8, reason: "must be all"},
		{rule: "no gpus at all", container: "runtime: nvidia\ngpus: 0", top: "gpus: 2", path: c0 + "gpus", line: 8, reason: "between 1 and 8"},
		{rule: "a capability beyond the three", container: "cap_add: [SYS_ADMIN]", path: c0 + "cap_add[0]", line: 7, reason: "IPC_LOCK"},
		{rule: "a capability with its prefix", container: "cap_add: [CAP_IPC_LOCK]", path: c0 + "cap_add[0]", line: 7, reason: "without CAP_"},
		{rule: "a capability twice", container: "cap_add: [SYS_NICE, SYS_NICE]", path: c0 + "cap_add[1]", line: 7, reason: "twice"},
		{rule: "a command in one line", container: "command: serve --port 1", path: c0 + "command", line: 7, reason: "must be a list"},
		{rule: "a relative working_dir", container: "working_dir: srv", path: c0 + "working_dir", line: 7, reason: "absolute"},
		{rule: "a user with spaces", container: "user: a b", path: c0 + "user", line: 7, reason: "uid:gid"},
		{rule: "the id that means none", container: "user: \"4294967295\"", path: c0 + "user", line: 7, reason: "larger"},
		{rule: "a signal that can't stop", container: "stop_signal: SIGSEGV", path: c0 + "stop_signal", line: 7, reason: "SIGTERM"},
		{rule: "a signal by number", container: "stop_signal: 15", path: c0 + "stop_signal", line: 7, reason: "name of the signal"},
		{rule: "a real-time signal out of range", container: "stop_signal: SIGRTMIN+31", path: c0 + "stop_signal", line: 7, reason: "SIGRTMIN+30"},
		{rule: "stop_timeout with a unit", container: "stop_timeout: 10s", path: c0 + "stop_timeout", line: 7, reason: "whole number"},
		{rule: "stop_timeout over an hour", container: "stop_timeout: 3601", path: c0 + "stop_timeout", line: 7, reason: "between 0 and 3600"},
		{rule: "an unknown restart policy", container: "restart: sometimes", path: c0 + "restart", line: 7, reason: "unless-stopped"},
		{rule: "retries of always", container: "restart: always:3", path: c0 + "restart", line: 7, reason: "only on-failure"},
		{rule: "zero retries", container: "restart: on-failure:0", path: c0 + "restart", line: 7, reason: "between 1"},
		{rule: "read_only in YAML 1.1", container: "read_only: yes", path: c0 + "read_only", line: 7, reason: "true or false"},
		{rule: "a boolean in quotes", container: "read_only: \"true\"", path: c0 + "read_only", line: 7, reason: "true or false"},
		{rule: "no pids", container: "pids_limit: 0", path: c0 + "pids_limit", line: 7, reason: "between 1"},
		{rule: "an unlimited number of pids", container: "pids_limit: -1", path: c0 + "pids_limit", line: 7, reason: "between 1"},
		{rule: "a size in words", container: "memory: lots", path: c0 + "memory", line: 7, reason: "512m"},
		{rule: "a size above the enclave's", container: "memory: 9g", path: c0 + "memory", line: 7, reason: "8192 MiB"},
		{rule: "shm above the enclave's memory", container: "shm_size: 64g", path: c0 + "shm_size", line: 7, reason: "8192 MiB"},
		{rule: "a size beyond all machines", container: "shm_size: 999999t", path: c0 + "shm_size", line: 7, reason: "more than"},
		{rule: "more cpus than there are", container: "cpus: 2.5", path: c0 + "cpus", line: 7, reason: "the enclave's 2"},
		{rule: "cpus too fine", container: "cpus: 0.0001", path: c0 + "cpus", line: 7, reason: "thousandth"},
		{rule: "negative cpus", container: "cpus: -1", path: c0 + "cpus", line: 7, reason: "number of CPUs"},
		{rule: "a registry password in the file", container: "registry:\n  username: a\n  password_secret: B\n  password: hunter2", path: c0 + "registry.password", line: 10, reason: "password_secret"},
		{rule: "a registry without a password", container: "registry:\n  username: a", path: c0 + "registry.password_secret", line: 8, reason: "required"},
		{rule: "a model that is not declared", container: "models: [m]", path: c0 + "models", line: 7, reason: "not declared"},
		{rule: "a misspelt key", container: "helthcheck: {}", path: c0 + "helthcheck", line: 7, reason: "did you mean healthcheck?"},
		{rule: "a key of Compose", container: "environment: []", path: c0 + "environment", line: 7, reason: "write env"},
		{rule: "a key of nothing", container: "zzzzzzzz: 1", path: c0 + "zzzzzzzz", line: 7, reason: "unknown key"},
	})
}

func TestEnvironmentRefusals(t *testing.T) {
	env := "containers[0].env[0]"
	checkRefusals(t, []refusal{
		{rule: "a name with a hyphen", container: "env: [LOG-LEVEL]", path: env, line: 7, reason: "letters, digits"},
		{rule: "a name that begins with a digit", container: "env: [1A: b]", path: env + ".1A", line: 7, reason: "letters, digits"},
		{rule: "a mapping instead of a list", container: "env: {A: b}", path: "containers[0].env", line: 7, reason: "must be a list"},
		{rule: "two variables under one hyphen", container: "env:\n  - A: 1\n    B: 2", path: env, line: 8, reason: "its own hyphen"},
		{rule: "a name without a value", container: "env:\n  - A:", path: env + ".A", line: 8, reason: "name alone"},
		{rule: "a list as a value", container: "env:\n  - A: [1]", path: env + ".A", line: 8, reason: "single value"},
		{rule: "an octal number", container: "env:\n  - A: 0777", path: env + ".A", line: 8, reason: "quotes"},
		{rule: "a number with an exponent", container: "env:\n  - A: 1e3", path: env + ".A", line: 8, reason: "quotes"},
		{rule: "a NUL byte", container: "env:\n  - A: \"a\\0b\"", path: env + ".A", line: 8, reason: "NUL"},
		{rule: "an old form with a bad name", container: "env: [A-B=c]", path: env, line: 7, reason: "letters, digits"},
		{rule: "a variable twice", container: "env: [A, A: b]", path: "containers[0].env[1]", line: 7, reason: "twice"},
		{rule: "a secret with its value", container: "secrets: [A=b]", path: "containers[0].secrets[0]", line: 7, reason: "never stands in the file"},
		{rule: "a secret twice", container: "secrets: [A, A]", path: "containers[0].secrets[1]", line: 7, reason: "twice"},
		{rule: "a name that is variable and secret", container: "env: [A]\nsecrets: [A]", path: "containers[0].secrets", line: 8, reason: "keep one"},
		{rule: "a volume's key in a container", container: "secrets: [K]\nvolumes: [\"v:/v\"]", top: "volumes: [{name: v, key-secret: K}]", path: "containers[0].secrets", line: 7, reason: "must not see it"},
	})
}

func TestImageRefusals(t *testing.T) {
	for _, tc := range []struct{ rule, image, reason string }{
		{"a tag only", "ghcr.io/acme/app:v1", "add the digest"},
		{"latest", "busybox:latest", "is not pinned"},
		{"no tag at all", "busybox", "is not pinned"},
		{"a placeholder", "app:tag@sha256:...", "placeholder"},
		{"a placeholder in words", "app@sha256:YOUR_DIGEST", "placeholder"},
		{"all zeroes", "app@sha256:" + hex64("0"), "all zeroes"},
		{"a digest cut short", "app@sha256:abc123", "has 6 hex digits"},
		{"upper case", "app@sha256:" + hex64("A"), "lower case"},
		{"another algorithm", "app@sha512:" + hex64("a"), "only sha256"},
		{"no algorithm", "app@" + hex64("a"), "begin with sha256:"},
		{"nothing before the digest", "@sha256:" + hex64("a"), "not an image reference"},
		{"upper case in the name", "GHCR.io/Acme/App@sha256:" + hex64("a"), "not an image reference"},
		{"two digests", "app@sha256:" + hex64("a") + "@sha256:" + hex64("b"), "placeholder"},
		{"spaces", "a b@sha256:" + hex64("a"), "not an image reference"},
		{"nothing", "", "is empty"},
		{"a reference of 600 bytes", strings.Repeat("a", 600), "at most 512"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, err := checkImage(tc.image)
			if err == nil || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("%s: got %v, want a reason with %q", tc.image, err, tc.reason)
			}
		})
	}
}
