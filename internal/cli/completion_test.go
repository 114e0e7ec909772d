package cli

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestNamesAreCompletedFromTheCoordinator(t *testing.T) {
	for args, want := range map[string]string{
		"container get ":                "llm web",
		"container get w":               "web",
		"container get web ":            "",
		"container update accept web ":  "web-u4",
		"container update status ":      "llm web",
		"container relaunch web --tag ": "v1.2.3 v1.2.2",
		"container create x --tag ":     "v1.2.3 v1.2.2",
		"container create --tag ":       "",
		"container relaunch --secret ":  "API_KEY DB_URL",
		"container relaunch --host ":    "gpu-1 gpu-2",
		"host get ":                     "gpu-1 gpu-2",
		"secret get ":                   "API_KEY DB_URL",
		"container list -o ":            "table json yaml",
		"completion ":                   "bash zsh fish",
	} {
		w := newWorld(t, newFleet())
		if code := w.run(t, append([]string{"__completeNoDesc"}, strings.Split(args, " ")...)...); code != ExitOK {
			t.Fatalf("%q: exit code %d: %s", args, code, &w.err)
		}
		lines := strings.Fields(w.out.String())
		if got := strings.Join(lines[:len(lines)-1], " "); got != want {
			t.Errorf("%q completes to %q, want %q", args, got, want)
		}
	}
}

func TestCompletionIsSilentWhenNobodyAnswers(t *testing.T) {
	w := newWorld(t, newFleet())
	w.fleet.refuse["ListContainersRequest"] = status.Error(codes.PermissionDenied, "no")
	if code := w.run(t, "__completeNoDesc", "container", "get", ""); code != ExitOK || w.out.String() != ":4\n" {
		t.Errorf("exit code %d: %q", code, &w.out)
	}
}

func TestEveryShellHasAScript(t *testing.T) {
	for shell, mark := range map[string]string{"bash": "__start_casemate", "zsh": "#compdef casemate", "fish": "complete -c casemate"} {
		w := newWorld(t, newFleet())
		if code := w.run(t, "completion", shell); code != ExitOK || !strings.Contains(w.out.String(), mark) {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, w.out.Len())
		}
	}
	w := newWorld(t, newFleet())
	if code := w.run(t, "completion", "csh"); code != ExitUsage {
		t.Errorf("csh: exit code %d, want %d", code, ExitUsage)
	}
}
