package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// attestNow is the clock of these tests: most recorded evidence is valid then.
var attestNow = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

// attestResult is what a driving program sees of a command.
type attestResult struct {
	code     int
	out, err string
}

// runOffline runs a command that needs no coordinator.
func runOffline(t testing.TB, args ...string) attestResult {
	t.Helper()
	var out, errs bytes.Buffer
	code := Run(t.Context(), args, offlineEnv(&out, &errs))
	return attestResult{code, out.String(), errs.String()}
}

func offlineEnv(out, errs io.Writer) Env {
	return Env{
		In: strings.NewReader(""), Out: out, Err: errs,
		Getenv: func(string) string { return "" },
		Open:   func(name string) (io.ReadCloser, error) { return os.Open(name) },
		Now:    func() time.Time { return attestNow },
	}
}

// verdictOf checks the form that programs rely on and returns the verdict.
func (r attestResult) verdictOf(t testing.TB) *attest.Verdict {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.out), &members); err != nil {
		t.Fatalf("stdout is not one JSON object: %v\n%s\nstderr: %s", err, r.out, r.err)
	}
	for _, name := range []string{"accepted", "format", "checks", "claims"} {
		if members[name] == nil || string(members[name]) == "null" {
			t.Fatalf("the member %q is missing or null:\n%s", name, r.out)
		}
	}
	v := &attest.Verdict{}
	if err := json.Unmarshal([]byte(r.out), v); err != nil {
		t.Fatal(err)
	}
	if want := map[bool]int{true: 0, false: 1}[v.Accepted]; r.code != want {
		t.Fatalf("exit code %d with accepted=%t, want %d", r.code, v.Accepted, want)
	}
	if r.err != "" {
		t.Errorf("a verdict was given, and stderr says: %s", r.err)
	}
	return v
}

// wantUnusable fails unless the command ended for its arguments or files.
func (r attestResult) wantUnusable(t testing.TB, says string) {
	t.Helper()
	if r.code != 2 || r.out != "" || !strings.Contains(r.err, says) {
		t.Errorf("exit code %d, stdout %q, stderr %q; want 2, nothing, and %q", r.code, r.out, r.err, says)
	}
}

func failedNames(v *attest.Verdict) []string {
	var out []string
	for _, c := range v.Failed() {
		out = append(out, c.Name)
	}
	slices.Sort(out)
	return out
}

// attestVectors returns the folder of recorded evidence, or skips and says so.
func attestVectors(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CASEMATE_VECTORS")
	if dir == "" {
		t.Skip("NOT RUN: recorded evidence through the command line; set CASEMATE_VECTORS to its folder")
	}
	return dir
}

func attestRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// attestWrite puts a file into a folder of its own and returns its path.
func attestWrite(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func attestUnhex(t testing.TB, text []byte) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// attestGolden compares text with a file under testdata; go test -update rewrites it.
func attestGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "attest", name)
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(attestRead(t, path)), got); d != "" {
		t.Errorf("%s (-want +got), rewrite it with -update:\n%s", path, d)
	}
}
