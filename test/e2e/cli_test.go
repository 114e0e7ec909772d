package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// result is what a command leaves behind.
type result struct {
	out, err string
	code     int
}

// casemate runs the real command line against the fleet, without a terminal.
func (f *fleet) casemate(t *testing.T, args ...string) result {
	t.Helper()
	return f.casemateWith(t, "", args...)
}

// casemateWith is casemate with something on stdin.
func (f *fleet) casemateWith(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return runCasemate(t, f.Bin, f.Socket(), stdin, args...)
}

func runCasemate(t *testing.T, bin, address, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "casemate"), args...) //nolint:gosec // our own binary
	cmd.Env = append(os.Environ(), "CASEMATE_COORDINATOR="+address, "CASEMATE_ORG=", "HOME="+t.TempDir(), "XDG_CONFIG_HOME=")
	cmd.Stdin = strings.NewReader(stdin)
	var out, errText strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errText
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("casemate %s: %v", strings.Join(args, " "), err)
	}
	return result{out.String(), errText.String(), cmd.ProcessState.ExitCode()}
}

// ok wants a command to succeed and returns what it printed.
func (f *fleet) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := f.casemate(t, args...)
	if r.code != 0 {
		t.Fatalf("casemate %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// fails wants a command to exit with a code and to say something on stderr.
func (f *fleet) fails(t *testing.T, code int, says string, args ...string) result {
	t.Helper()
	r := f.casemate(t, args...)
	if r.code != code || !strings.Contains(r.err, says) {
		t.Fatalf("casemate %s: exit %d, want %d with %q on stderr\nstdout: %s\nstderr: %s", strings.Join(args, " "), r.code, code, says, r.out, r.err)
	}
	return r
}

// json runs a command with -o json and reads its message.
func (f *fleet) json(t *testing.T, into proto.Message, args ...string) {
	t.Helper()
	text := f.ok(t, append(args, "-o", "json")...)
	if err := protojson.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("casemate %s -o json: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// says wants a text to have parts, in this order.
func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, p := range parts {
		i := strings.Index(rest, p)
		if i < 0 {
			t.Errorf("%q is missing, or not in its place, in:\n%s", p, text)
			return
		}
		rest = rest[i+len(p):]
	}
}

// line returns the first line of a text that begins with a word.
func line(text, word string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, word+" ") {
			return l
		}
	}
	return ""
}
