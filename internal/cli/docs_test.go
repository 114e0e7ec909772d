package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// docsFile is made by this test.
const docsFile = "../../docs/cli.md"

// documented are the groups whose commands docs/cli.md describes; the others
// have pages of their own.
var documented = []string{"container", "secret", "host", "route", "backup", "config", "release", "completion", "version"}

// silent are groups whose commands are shown without outputs: those are files.
var silent = []string{"release", "completion"}

// shown are the scenes that stand under a command; one without an entry shows
// the scene of its own name.
var shown = map[string][]string{
	"container create":        {"container-create-no-wait"},
	"container relaunch":      {"container-relaunch-replace", "container-relaunch-no-terminal", "container-relaunch-downtime"},
	"container get":           {"container-get", "container-get-failed"},
	"container update status": {"container-update-status", "live-replace"},
	"host remove":             {"host-remove", "host-remove-used", "host-forget-lost"},
}

func TestTheDocsShowEveryCommand(t *testing.T) {
	intro, err := os.ReadFile("testdata/docs-intro.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.Write(intro)
	root := (&app{env: Env{Version: "v0.0.0-test"}}).root()
	for _, name := range documented {
		c, _, err := root.Find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		document(t, &b, c)
	}
	if *update {
		if err := os.WriteFile(docsFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(have), b.String()); d != "" {
		t.Errorf("%s is not what the program says; run go test ./internal/cli -update (-file +program):\n%s", docsFile, d)
	}
}

func document(t *testing.T, b *strings.Builder, c *cobra.Command) {
	t.Helper()
	path := strings.TrimPrefix(c.CommandPath(), "casemate ")
	if c.HasSubCommands() {
		fmt.Fprintf(b, "## casemate %s\n\n%s.\n\n", path, c.Short)
		for _, sub := range c.Commands() {
			document(t, b, sub)
		}
		return
	}
	fmt.Fprintf(b, "### casemate %s\n\n%s\n\n", path, sentence(c))
	fmt.Fprintf(b, "```\n%s\n```\n\n", c.UseLine())
	if flags := flagTable(c); flags != "" {
		b.WriteString(flags + "\n")
	}
	if c.Example == "" {
		t.Errorf("casemate %s has no example", path)
	}
	fmt.Fprintf(b, "```sh\n%s\n```\n\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	names, own := shown[path]
	if group, _, _ := strings.Cut(path, " "); !own && !slices.Contains(silent, group) {
		names = []string{strings.ReplaceAll(path, " ", "-")}
	}
	for _, name := range names {
		output(t, b, name)
	}
}

func sentence(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

func flagTable(c *cobra.Command) string {
	var b strings.Builder
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := strings.TrimSpace("--" + f.Name + " " + kind)
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, usage)
	})
	if b.Len() == 0 {
		return ""
	}
	return "| flag | |\n|---|---|\n" + b.String()
}

// output is a golden file as a person sees it. Of a live view, the last frame
// but two.
func output(t *testing.T, b *strings.Builder, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
	if err != nil {
		t.Fatalf("a command without a scene: %v", err)
	}
	out := string(text)
	if frames := strings.Split(out, "----\n"); strings.HasPrefix(name, "live-") {
		out = "$ casemate container update status web --follow\n" + frames[len(frames)-3]
	}
	out = strings.ReplaceAll(out, "\n"+stderrMark, "\n")
	if i := strings.Index(out, "--- exit code "); i >= 0 {
		out = strings.TrimRight(out[:i], "\n") + "\n" + exitLine(out[i:])
	}
	b.WriteString("```\n")
	for line := range strings.Lines(out) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	b.WriteString("```\n\n")
}

func exitLine(text string) string {
	if strings.HasPrefix(text, "--- exit code 0") {
		return ""
	}
	return strings.TrimPrefix(text, "--- ")
}

func TestEveryCommandHasAScene(t *testing.T) {
	have := map[string]bool{}
	for _, s := range scenes {
		have[s.name] = true
	}
	root := (&app{}).root()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		path := strings.Fields(c.CommandPath())[1:]
		if c.HasSubCommands() || len(path) == 0 || !slices.Contains(documented, path[0]) || slices.Contains(silent, path[0]) {
			return
		}
		if !have[strings.Join(path, "-")] {
			t.Errorf("casemate %s has no scene", strings.Join(path, " "))
		}
	}
	walk(root)
}
