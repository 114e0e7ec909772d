package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// anything stands in an expected output for whatever is there: alone on a line
// for any lines, within one for any text.
const anything = "…"

// example is a command of the document with the output that it shows.
type example struct {
	command string
	output  []string
}

// examples reads the console blocks of a document.
func examples(t *testing.T, path string) []example {
	t.Helper()
	data, err := os.ReadFile(path) //nolint:gosec // a file of this repository
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	for _, block := range strings.Split(string(data), "```console\n")[1:] {
		block, _, closed := strings.Cut(block, "```")
		command, ok := strings.CutPrefix(block, "$ ")
		if !closed || !ok {
			t.Fatalf("this block is no command with its output:\n%s", block)
		}
		command = strings.ReplaceAll(command, "\\\n", " ")
		command, output, _ := strings.Cut(command, "\n")
		all = append(all, example{command, strings.Split(strings.TrimSpace(output), "\n")})
	}
	return all
}

func TestEveryCommandOfTheGrpcurlDocument(t *testing.T) {
	t.Parallel()
	tool, err := grpcurl()
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, dev.Options{Hosts: []string{"8xH200"}})
	f.createSecret(t, "API_KEY", "value")
	spec := f.versions(t, "web", app{secrets: []string{"API_KEY"}}, app{secrets: []string{"API_KEY"}})
	spec.Secrets = []string{"API_KEY"}
	f.deployed(t, "web", spec)
	list := examples(t, filepath.Join(moduleRoot, "docs", "grpcurl.md"))
	if len(list) < 20 {
		t.Fatalf("only %d commands were found: the document has another form", len(list))
	}
	methods := map[string]bool{}
	for _, e := range list {
		if strings.Contains(e.command, "AcceptUpdate") { // a person would have looked first
			f.at(t, &cv1.Update{Org: dev.Org, Container: "web", Id: "web-u2"}, cv1.UpdateStep_UPDATE_STEP_HOLD)
		}
		out, code := f.shell(t, tool, e.command)
		if !matches(e.output, strings.Split(strings.TrimSpace(out), "\n")) {
			t.Errorf("$ %s\ngave:\n%s\nwant:\n%s", e.command, out, strings.Join(e.output, "\n"))
		}
		if fails := slices.Contains(e.output, "ERROR:") || strings.HasPrefix(e.output[0], "Failed"); fails != (code != 0) {
			t.Errorf("$ %s\nexits with %d", e.command, code)
		}
		if strings.Contains(out, secretMark) {
			t.Errorf("$ %s\nprints a secret", e.command)
		}
		service, _, _ := strings.Cut(e.command[strings.LastIndex(e.command, " ")+1:], "/")
		methods[service] = true
	}
	for _, name := range []string{
		"coordinator.v1.ContainerService", "coordinator.v1.EventService", "coordinator.v1.HostService", "coordinator.v1.RevisionService",
		"coordinator.v1.RouteService", "coordinator.v1.SecretService", "coordinator.v1.UpdateService",
		"agent.v1.HostService", "agent.v1.EnclaveService",
	} {
		if !methods["casemate."+name] {
			t.Errorf("the document calls no method of %s", name)
		}
	}
	f.ended(t, &cv1.Update{Org: dev.Org, Container: "web", Id: "web-u2"}, cancelled)
}

// shell runs a command of the document against the fleet, where the document has
// the addresses of an installed one.
func (f *fleet) shell(t *testing.T, tool, command string) (string, int) {
	t.Helper()
	command = strings.NewReplacer(
		"/run/casemate/coordinator.sock", strings.TrimPrefix(f.Socket(), "unix://"),
		"/run/casemate/agent.sock", strings.TrimPrefix(f.AgentSocket(0), "unix://"),
		"/run/casemate/nobody.sock", filepath.Join(f.Dir, "nobody.sock"),
		"127.0.0.1:7443", f.TCP,
	).Replace(command)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command) //nolint:gosec // the document's own commands
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(tool)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("$ %s: %v", command, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// matches compares an output with the form that is expected of it.
func matches(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case want[0] == anything:
		for n := 0; n <= len(got); n++ {
			if matches(want[1:], got[n:]) {
				return true
			}
		}
		return false
	case len(got) == 0:
		return false
	}
	return lineMatches(strings.TrimSpace(want[0]), strings.TrimSpace(got[0])) && matches(want[1:], got[1:])
}

func lineMatches(want, got string) bool {
	for n, part := range strings.Split(want, anything) {
		i := strings.Index(got, part)
		if i < 0 || n == 0 && i > 0 {
			return false
		}
		got = got[i+len(part):]
	}
	return got == "" || strings.HasSuffix(want, anything)
}

func TestAnOutputIsComparedByItsForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want, got string
		ok        bool
	}{
		"the same":                  {"a\nb", "a\nb", true},
		"indented otherwise":        {"  a", "a", true},
		"any lines, none":           {"a\n…\nb", "a\nb", true},
		"any lines, some":           {"a\n…\nb", "a\nx\ny\nb", true},
		"any text":                  {"id: …", "id: 7", true},
		"another line":              {"a\nb", "a\nc", false},
		"a line too many":           {"a", "a\nb", false},
		"a line too few":            {"a\nb", "a", false},
		"something before it":       {"a", "xa", false},
		"something after it":        {"a", "ax", false},
		"what follows any, missing": {"…\nb", "a", false},
	} {
		if got := matches(strings.Split(c.want, "\n"), strings.Split(c.got, "\n")); got != c.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}
