package docs

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/casemate-dev/casemate/internal/cli"
)

// literals are the strings in the program's own code below the folders.
func literals(t *testing.T, roots ...string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					text, err := strconv.Unquote(l.Value)
					if err != nil {
						t.Errorf("%s: %s: %v", path, l.Value, err)
					}
					out[text] = true
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// notReasons look like reasons and are names of other things: environment variables,
// strategies, and steps, which docs/updates.md explains.
var notReasons = []string{
	"BLUE_GREEN", "HOLD_ROUTE", "STOP_OLD", "AWAIT_FREE", "STOP_NEW", "AWAIT_UPDATE", "CLOSE_ROUTE", "STOP_ENCLAVE",
	"CREDENTIALS_DIRECTORY", "CASEMATE_AGENT", "CASEMATE_COORDINATOR", "CASEMATE_GATEWAY",
	"CASEMATE_SIM_BOOT_TIME", "CASEMATE_SIM_LOAD_TIME", "CASEMATE_SIM_FAULT",
}

func TestEveryReasonIsExplained(t *testing.T) {
	found := literals(t, "../internal/agent", "../internal/coordinator", "../internal/rpc", "../internal/gateway", "../internal/guest",
		"../pkg/enclave", "../pkg/release/manifest", "../pkg/release/sigstore")
	explained := map[string]bool{}
	for line := range strings.Lines(read(t, "reasons.md")) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range regexp.MustCompile("`([A-Z][A-Z0-9_]+)`").FindAllStringSubmatch(cells[1], -1) {
				explained[m[1]] = true
			}
		}
	}
	reason := regexp.MustCompile(`^[A-Z][A-Z0-9]+(_[A-Z0-9]+)+$`)
	for text := range found {
		if reason.MatchString(text) && !explained[text] && !slices.Contains(notReasons, text) {
			t.Errorf("docs/reasons.md doesn't explain %s", text)
		}
	}
}

func TestEveryMetricInTheDocsExists(t *testing.T) {
	found := map[string]map[string]bool{}
	for _, part := range []string{"agent", "coordinator", "gateway"} {
		found[part] = literals(t, "../internal/"+part)
	}
	whole := regexp.MustCompile(`casemate_(agent|coordinator|gateway)_([a-z_]+)`)
	short := regexp.MustCompile("…_([a-z_]+)")
	count := 0
	for _, page := range pages(t) {
		part := ""
		for line := range strings.Lines(read(t, page)) {
			names := map[string]bool{}
			for _, m := range whole.FindAllStringSubmatch(line, -1) {
				part = m[1]
				names[m[2]] = true
			}
			if part == "" {
				continue
			}
			for _, m := range short.FindAllStringSubmatch(line, -1) {
				names[m[1]] = true
			}
			for name := range names {
				if count++; !found[part][name] {
					t.Errorf("%s names the metric casemate_%s_%s, which there is not", page, part, name)
				}
			}
		}
	}
	if count < 30 {
		t.Errorf("only %d metrics were found: the pages have another form", count)
	}
}

// keys are those of a YAML document, with dots.
func keys(prefix string, node any, out map[string]bool) {
	section, _ := node.(map[string]any)
	for name, sub := range section {
		out[prefix+name] = true
		keys(prefix+name+".", sub, out)
	}
}

func TestEverySettingInTheDocsExists(t *testing.T) {
	found := map[string]bool{}
	for _, daemon := range []string{"agent", "coordinator", "gateway"} {
		var example map[string]any
		if err := yaml.Unmarshal([]byte(read(t, "../deploy/"+daemon+".example.yaml")), &example); err != nil {
			t.Fatal(err)
		}
		keys("", example, found)
	}
	sections := "listen|policy|attestation|git|releases|limits|restarts|reaper|backend|capacity|gpu|intervals"
	setting := regexp.MustCompile("`((?:" + sections + `)\.[a-z_.]+[a-z])[:\x60 ]`)
	count := 0
	for _, page := range pages(t) {
		for _, m := range setting.FindAllStringSubmatch(read(t, page), -1) {
			if ext := filepath.Ext(m[1]); ext == ".go" || ext == ".yaml" {
				continue // a file
			}
			if count++; !found[m[1]] {
				t.Errorf("%s names the setting %s, which no example shows", page, m[1])
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d settings were found: the pages have another form", count)
	}
}

// commandLine finds commands in code: in spans, and on lines of their own.
var commandLine = regexp.MustCompile("(?m)(?:`|^ *(?:\\$ )?|&& |\\$\\()casemate ((?:[^`\n\\\\]|\\\\\n)*)")

// TestEveryCommandInTheDocsExists holds the words and flags of commands in the pages
// against the program's own help. docs/cli.md is made from it.
func TestEveryCommandInTheDocsExists(t *testing.T) {
	help := helper{}
	count := 0
	for _, page := range pages(t) {
		if page == "cli.md" {
			continue
		}
		for _, m := range commandLine.FindAllStringSubmatch(read(t, page), -1) {
			words := strings.Fields(strings.ReplaceAll(m[1], "\\\n", " "))
			if len(words) == 0 || !regexp.MustCompile(`^[a-z-]+$`).MatchString(words[0]) {
				continue // the name of the program, in a sentence
			}
			count++
			if err := help.check(t, words); err != nil {
				t.Errorf("%s: casemate %s: %v", page, strings.Join(words, " "), err)
			}
		}
	}
	if count < 60 {
		t.Errorf("only %d commands were found: the pages have another form", count)
	}
}

// helper keeps the help of commands, by their words.
type helper map[string]string

func (h helper) help(t *testing.T, words ...string) string {
	t.Helper()
	line := strings.Join(words, " ")
	if _, known := h[line]; !known {
		var out bytes.Buffer
		env := cli.Env{Out: &out, Err: io.Discard, In: strings.NewReader(""), Getenv: func(string) string { return "" }, Now: time.Now}
		if code := cli.Run(context.Background(), append(words, "--help"), env); code != cli.ExitOK {
			t.Fatalf("casemate %s --help ends with %d", line, code)
		}
		h[line] = out.String()
	}
	return h[line]
}

// check says whether words are a command with flags that it has.
func (h helper) check(t *testing.T, words []string) error {
	t.Helper()
	n := 0
	for n < len(words) && !strings.HasPrefix(words[n], "-") && h.help(t, words[:n+1]...) != h.help(t, words[:n]...) {
		n++
	}
	help := h.help(t, words[:n]...)
	if strings.Contains(help, "Available Commands:") && n < len(words) && regexp.MustCompile(`^[a-z]+$`).MatchString(words[n]) {
		return fmt.Errorf("there is no command %s", words[n])
	}
	for _, word := range words[n:] {
		if word == "|" || word == ">" || word == "&&" || word == "#" {
			break
		}
		flag := regexp.MustCompile(`^\(?(--[a-z-]+)`).FindStringSubmatch(word)
		if flag != nil && !strings.Contains(help, flag[1]+" ") && !strings.Contains(help, flag[1]+"\n") {
			return fmt.Errorf("it has no flag %s", flag[1])
		}
	}
	return nil
}

// TestEveryFileThatIsInstalledExists reads the commands of the quick start.
func TestEveryFileThatIsInstalledExists(t *testing.T) {
	found := map[string]bool{}
	for _, page := range pages(t) {
		for _, path := range regexp.MustCompile(`\bdeploy/[A-Za-z0-9_.*/-]*[A-Za-z0-9*]`).FindAllString(read(t, page), -1) {
			found[path] = true
		}
	}
	if len(found) < 6 {
		t.Errorf("only %v are named: the pages have another form", slices.Sorted(maps.Keys(found)))
	}
	for path := range found {
		if match, err := filepath.Glob("../" + path); err != nil || len(match) == 0 {
			t.Errorf("the pages name %s, and there is no such file (%v)", path, err)
		}
	}
	if _, err := os.Stat("../deploy/systemd"); err != nil {
		t.Error(err)
	}
}
