package sim

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// replays makes sure of what a failing run prints, of our own generator's and of
// rapid's: its seed, its history in words, and a command that plays it again. It is
// given a build with defects.
func replays(t *testing.T, bin string) {
	const planted, violated = "evidence not awaited", "I3 is violated"
	run := func(t *testing.T, seed string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Dir = t.TempDir() // rapid writes what failed to a file
		cmd.Env = append(os.Environ(), "SIM_PLANTED="+planted, "SIM_FOR="+huntLimit.String(), "SIM_SEED="+seed)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), violated) {
			t.Fatalf("%v (%v), want %q:\n%s", args, err, violated, out)
		}
		return string(out)
	}
	for name, tt := range map[string]struct {
		args []string
		// command finds the seed in the command that is printed.
		command *regexp.Regexp
		again   func(seed string) (env string, args []string)
	}{
		"own": {
			[]string{"-test.run=^TestSimulation$"}, regexp.MustCompile(`replay: SIM_SEED=(\d+) go test ./test/sim -run TestReplay\n`),
			func(seed string) (string, []string) { return seed, []string{"-test.run=TestReplay"} },
		},
		"rapid": {
			[]string{"-test.run=^TestInvariantsHold$", "-rapid.shrinktime=1s"}, regexp.MustCompile(`-rapid\.seed=(\d+)`),
			func(seed string) (string, []string) {
				return "", []string{"-test.run=TestInvariantsHold", "-rapid.shrinktime=1s", "-rapid.seed=" + seed}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := run(t, "", tt.args...)
			m := tt.command.FindStringSubmatch(out)
			if m == nil || !strings.Contains(out, "}, // deploy, then ") && !strings.Contains(out, "}, // update, then ") || !strings.Contains(out, "VIOLATION I3") {
				t.Fatalf("a failing run shows no command, no actions or no history:\n%s", out)
			}
			env, args := tt.again(m[1])
			run(t, env, args...)
		})
	}
}
