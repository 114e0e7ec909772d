package release

import (
	"errors"
	"strings"
	"testing"
)

func TestYAMLThatIsRefused(t *testing.T) {
	base := string(fixture(t, "minimal.yml"))
	for _, tc := range []struct {
		rule, file   string
		line, column int
		reason       string
	}{
		{"nothing", "", 0, 0, "is empty"},
		{"comments only", "# nothing\n", 0, 0, "is empty"},
		{"a list", "- a\n", 1, 1, "not a list"},
		{"a word", "hello\n", 1, 1, "not a single value"},
		{"a second document", base + "---\na: b\n", 9, 1, "second document"},
		{"a second document that is broken", base + "---\n}\n", 10, 1, "not valid YAML"},
		{"an open bracket", base + "gpus: [1,\n", 10, 1, "not valid YAML"},
		{"a tab for indentation", base + "gpus: 1\n\tx: 1\n", 10, 1, "tab"},
		{"a duplicate key", base + "cpus: 4\n", 9, 1, "first on line 2"},
		{"a merge key", base + "<<: {gpus: 1}\n", 9, 1, "merge key"},
		{"an anchor", base + "gpus: &n 1\n", 9, 7, "anchor"},
		{"an unknown alias", base + "gpus: *n\n", 9, 7, "unknown anchor"},
		{"a tag", base + "gpus: !!int \"1\"\n", 9, 7, "tag"},
		{"a private tag", base + "gpus: !env X\n", 9, 7, "tag"},
		{"a key that is a list", base + "[a]: 1\n", 9, 1, "must be plain text"},
		{"a control character", base + "gpus: \x01\n", 0, 0, "control characters"},
		{"bytes that are not UTF-8", base + "# é \xff\n", 9, 5, "UTF-8"},
		{"UTF-16", "\xff\xfea\x00", 1, 1, "UTF-8"},
		{"deep nesting", base + "gpus: " + strings.Repeat("[", 5000) + "\n", 9, 0, "max depth"},
		{"deep nesting by indentation", strings.Repeat("- ", 5000) + "\n", 1, 0, "max depth"},
		{"a huge scalar", base + "gpus: " + strings.Repeat("x", 100_000) + "\n", 9, 7, "at most 65536"},
		{"too many values", base + "gpus: [" + strings.Repeat("1,", 17_000) + "]\n", 9, 0, "more than 16384"},
		{"more than 1 MiB", base + strings.Repeat("#", MaxFileBytes), 0, 0, "at most 1048576"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, _, err := Parse("casemate.yml", []byte(tc.file))
			var refused *ParseError
			if !errors.As(err, &refused) {
				t.Fatalf("taken, err %v", err)
			}
			f := refused.Faults[0]
			if f.Line != tc.line || (tc.column > 0 && f.Column != tc.column) || !strings.Contains(f.Reason, tc.reason) {
				t.Errorf("got %v, want %d:%d with %q", f, tc.line, tc.column, tc.reason)
			}
		})
	}
}

func TestAliasesAreNotFollowed(t *testing.T) {
	bomb := "a: &a [x, x]\n"
	for c := byte('b'); c <= 'z'; c++ {
		bomb += string(c) + ": &" + string(c) + " [*" + string(c-1) + ", *" + string(c-1) + "]\n"
	}
	_, _, err := Parse("casemate.yml", []byte(bomb))
	if err == nil || !strings.Contains(err.Error(), "write the value out") {
		t.Errorf("got %v, want the aliases refused", err)
	}
}

func TestAllFaultsComeTogetherInOrder(t *testing.T) {
	text := strings.Replace(string(fixture(t, "minimal.yml")), "cpus: 2", "cpus: two", 1)
	text = strings.Replace(text, "upstream-port: 8000", "upstream-port: 0\n  paths: [x]", 1)
	_, _, err := Parse("casemate.yml", []byte(text+"gpu: 1\n"))
	var refused *ParseError
	if !errors.As(err, &refused) {
		t.Fatalf("taken, err %v", err)
	}
	var got []string
	for _, f := range refused.Faults {
		got = append(got, f.Path)
	}
	if want := "cpus shim.upstream-port shim.paths[0] gpu"; strings.Join(got, " ") != want {
		t.Errorf("faults at %v, want %s", got, want)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "casemate.yml:2:7: cpus: ") {
		t.Errorf("the error reads %q", lines)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		b.WriteString("k" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/100) + ": 1\n")
	}
	_, _, err := Parse("casemate.yml", []byte(b.String()))
	var refused *ParseError
	if !errors.As(err, &refused) {
		t.Fatalf("taken, err %v", err)
	}
	if len(refused.Faults) != MaxFaults || refused.Omitted < 2000 {
		t.Errorf("%d faults and %d omitted, want %d and the rest", len(refused.Faults), refused.Omitted, MaxFaults)
	}
}

func TestErrorsAreShortAndOnOneLine(t *testing.T) {
	hostile := strings.Repeat("é\x1b[31m\n", 5000)
	_, _, err := Parse("casemate.yml", []byte(string(fixture(t, "minimal.yml"))+"gpus: "+strconvQuote(hostile)+"\n"))
	if err == nil || len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("the error repeats a stranger's text: %.500q", err)
	}
}

// strconvQuote writes a YAML double-quoted scalar.
func strconvQuote(s string) string {
	return `"` + strings.NewReplacer("\n", `\n`, "\x1b", `\x1b`).Replace(s) + `"`
}
