package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
	"github.com/casemate-dev/casemate/pkg/release/sigstore/sigstoretest"
)

func TestOnlyAQuestionOfTheProtocolIsAnswered(t *testing.T) {
	_, root := instance(t)
	asked := func(change func(*sigstore.Request)) string {
		q := question(root, []byte("{}"), workflow)
		change(&q)
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	same := asked(func(*sigstore.Request) {})
	many := make([]sigstore.Identity, sigstore.MaxIdentities+1)
	for i := range many {
		many[i] = workflow
	}
	for _, c := range []struct{ rule, asks, says string }{
		{"nothing", "", "EOF"},
		{"no JSON", "who", "invalid"},
		{"two questions", same + same, "more than one"},
		{"an unknown member", strings.Replace(same, `"version"`, `"more":1,"version"`, 1), "more"},
		{"another version", asked(func(q *sigstore.Request) { q.Version = 2 }), "version 2"},
		{"nobody trusted", asked(func(q *sigstore.Request) { q.Identities = nil }), "0 identities"},
		{"too many trusted", asked(func(q *sigstore.Request) { q.Identities = many }), "identities"},
		{"everybody trusted", asked(func(q *sigstore.Request) { q.Identities[0].Subject = "*" }), "patterns"},
		{"an issuer without https", asked(func(q *sigstore.Request) { q.Identities[0].Issuer = "http://issuer.test" }), "https"},
		{"no trusted root", asked(func(q *sigstore.Request) { q.TrustedRoot = nil }), "trusted root"},
		{"a trusted root that is none", asked(func(q *sigstore.Request) { q.TrustedRoot = []byte("{}") }), "trusted root"},
		{"a trusted root that trusts nobody", asked(func(q *sigstore.Request) {
			q.TrustedRoot = []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
		}), "no certificate authority"},
		{"an oversized trusted root", asked(func(q *sigstore.Request) { q.TrustedRoot = make([]byte, sigstore.MaxTrustedRootBytes+1) }), "at most"},
		{"an oversized artifact", asked(func(q *sigstore.Request) { q.Artifact = make([]byte, sigstore.MaxArtifactBytes+1) }), "at most"},
		{"an oversized question", strings.Repeat(" ", maxQuestion+1), "more than"},
	} {
		var out bytes.Buffer
		err := run(nil, strings.NewReader(c.asks), &out)
		if err == nil || !strings.Contains(err.Error(), c.says) || out.Len() > 0 {
			t.Errorf("%s: %v, and says %q; want no answer, and why: %q", c.rule, err, out.String(), c.says)
		}
	}
	if err := run([]string{"--help"}, strings.NewReader(same), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "no arguments") {
		t.Errorf("an argument: %v", err)
	}
	if err := run(nil, strings.NewReader(same), failing{}); err == nil {
		t.Error("an answer that could not be written passes for one")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("closed") }

// TestTheCoordinatorsClientAndTheProgramUnderstandEachOther runs the program itself.
func TestTheCoordinatorsClientAndTheProgramUnderstandEachOther(t *testing.T) {
	s, root := instance(t)
	v := &sigstore.Verifier{Helper: program(t), TrustedRoot: root}
	good := bundleBy(t, s, workflow, sigstoretest.None)
	who, err := v.Verify(t.Context(), artifact, good, []sigstore.Identity{person, workflow})
	if err != nil || who != workflow {
		t.Errorf("%v, %v; want it signed by %s", who, err, workflow)
	}
	for rule, c := range map[string]struct {
		bundle []byte
		want   sigstore.Reason
	}{
		"another identity":     {bundleBy(t, s, person, sigstoretest.None), sigstore.OtherIdentity},
		"an expired one":       {bundleBy(t, s, workflow, sigstoretest.Expired), sigstore.BadSignature},
		"nonsense":             {[]byte("{"), sigstore.Malformed},
		"more than is asked":   {make([]byte, sigstore.MaxBundleBytes+1), sigstore.Malformed},
		"brackets, a megabyte": {bytes.Repeat([]byte("["), sigstore.MaxBundleBytes), sigstore.Malformed},
	} {
		_, err := v.Verify(t.Context(), artifact, c.bundle, []sigstore.Identity{workflow})
		var refused *sigstore.RefusedError
		if !errors.As(err, &refused) || refused.Reason != c.want {
			t.Errorf("%s: %v, want %s", rule, err, c.want)
		}
	}
	v.TrustedRoot = []byte("{}")
	if _, err := v.Verify(t.Context(), artifact, good, []sigstore.Identity{workflow}); !errors.Is(err, sigstore.ErrUnavailable) || !strings.Contains(err.Error(), "trusted root") {
		t.Errorf("no trusted root: %v, want no answer, and why", err)
	}
}

// program is the built program: that of CASEMATE_BIN, or one made here.
func program(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("CASEMATE_BIN"); dir != "" {
		return filepath.Join(dir, "casemate-sigstore")
	}
	path := filepath.Join(t.TempDir(), "casemate-sigstore")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return path
}
