package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/pkg/release/sigstore"
	"github.com/casemate-dev/casemate/pkg/release/sigstore/sigstoretest"
)

// releaseWorkflow signs the releases of these tests, otherWorkflow nobody trusts.
var (
	releaseWorkflow = sigstore.Identity{Issuer: "https://issuer.test", Subject: "https://git.test/acme/api/release.yaml@refs/heads/main"}
	otherWorkflow   = sigstore.Identity{Issuer: "https://issuer.test", Subject: "https://git.test/acme/api/release.yaml@refs/heads/feature"}
)

// rooted writes the trusted root of a Sigstore.
func rooted(t *testing.T, s *sigstoretest.Sigstore) string {
	t.Helper()
	text, err := s.TrustedRoot()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "trusted_root.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// identities starts a fleet whose coordinator trusts an identity of a Sigstore's and
// no key.
func identities(t *testing.T, root string) *fleet {
	t.Helper()
	program, err := sigstoreProgram()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, dev.Options{Hosts: []string{"none"}, Releases: []string{
		"signers:", "  - identities:", "      - issuer: " + releaseWorkflow.Issuer, "        subject: " + releaseWorkflow.Subject,
		"sigstore:", "  helper: " + program, "  trusted_root: " + root,
	}})
}

// published measures a tag with the command line, and attaches the bundle that sign
// makes over its manifest. It returns the names of both files.
func (f *fleet) published(t *testing.T, dir, tag string, number int, sign func(manifest []byte) ([]byte, error)) (plain, signed string) {
	t.Helper()
	work := t.TempDir()
	in := func(name string) string { return filepath.Join(work, name) }
	put := func(name string, content []byte) {
		if err := os.WriteFile(in(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "git", "-C", dir, "rev-parse", tag+"^{commit}").Output()
	if err != nil {
		t.Fatal(err)
	}
	put("platforms.yaml", []byte("machines: [{platform: simulated, shape: dev}]\n"))
	f.ok(t, "release", "measure", "--config", filepath.Join(dir, "casemate.yml"), "--platforms", in("platforms.yaml"), "--repository", dir,
		"--tag", tag, "--commit", strings.TrimSpace(string(out)), "--number", strconv.Itoa(number), "--out", in("manifest.json"))
	text, err := os.ReadFile(in("manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := sign(text)
	if err != nil {
		t.Fatal(err)
	}
	put("manifest.sigstore.json", bundle)
	f.ok(t, "release", "attach", "-C", dir, "--manifest", in("manifest.json"), "--bundle", in("manifest.sigstore.json"))
	return in("manifest.json"), in("manifest.sigstore.json")
}

// verifies asks the command line, with the real program, for the reason why a bundle
// is refused; empty if it is accepted.
func (f *fleet) verifies(t *testing.T, root, plain, bundle, reason string) {
	t.Helper()
	program, err := sigstoreProgram()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"release", "verify", "--manifest", plain, "--bundle", bundle, "--trusted-root", root,
		"--issuer", releaseWorkflow.Issuer, "--subject", releaseWorkflow.Subject, "--sigstore", program}
	if reason != "" {
		if r := f.casemate(t, args...); r.code != 1 || !strings.Contains(r.out, "["+reason+"]") {
			t.Errorf("release verify: exit %d, want 1 with %s\nstdout: %s\nstderr: %s", r.code, reason, r.out, r.err)
		}
	} else if out := f.ok(t, args...); !strings.Contains(out, "signed by "+releaseWorkflow.String()) {
		t.Errorf("release verify doesn't say who signed:\n%s", out)
	}
}

// outside verifies v1 of a container with the command line, by the identity that signed
// what lies beside its tag, and by one that didn't.
func (f *fleet) outside(t *testing.T, name, root, dir string) {
	t.Helper()
	program, err := sigstoreProgram()
	if err != nil {
		t.Fatal(err)
	}
	by := func(who sigstore.Identity) []string {
		return append(f.way(), "--repo", dir, "--tag", "v1", "--trusted-root", root, "--issuer", who.Issuer, "--subject", who.Subject, "--sigstore", program)
	}
	verify := []string{"attest", "verify", "https://" + domain(name)}
	says(t, f.ok(t, append(verify, by(releaseWorkflow)...)...), "is accepted", "✓ release_manifest", "signed by "+releaseWorkflow.String())
	says(t, f.fails(t, 1, "", append(verify, by(otherWorkflow)...)...).out, "✗ release_manifest", "MANIFEST_SIGNED_BY_ANOTHER")
	tunnel := f.connect(t, append([]string{name}, by(releaseWorkflow)...)...)
	if a, err := tunnel.ask(t); err != nil || a.Container != name {
		t.Errorf("through the tunnel %+v answers, %v", a, err)
	}
	tunnel.interrupt(t)
}

func TestATagIsDeployedByTheSigstoreBundleOverItsManifest(t *testing.T) {
	t.Parallel()
	s, err := sigstoretest.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	root := rooted(t, s)
	f := identities(t, root)
	key, err := f.ReleaseKey()
	if err != nil {
		t.Fatal(err)
	}
	by := func(who sigstore.Identity, flaw sigstoretest.Flaw) func([]byte) ([]byte, error) {
		return func(text []byte) ([]byte, error) { return s.Sign(text, who, flaw) }
	}
	cases := []struct {
		tag, reason string
		sign        func([]byte) ([]byte, error)
	}{
		{"v1", "", by(releaseWorkflow, sigstoretest.None)},
		{"v2", "MANIFEST_SIGNED_BY_ANOTHER", by(otherWorkflow, sigstoretest.None)},
		{"v3", "MANIFEST_BAD_SIGNATURE", by(releaseWorkflow, sigstoretest.Expired)},
		{"v4", "MANIFEST_BAD_SIGNATURE", by(releaseWorkflow, sigstoretest.NotLogged)},
		{"v5", "MANIFEST_BAD_SIGNATURE", func([]byte) ([]byte, error) {
			return s.Sign([]byte("another file"), releaseWorkflow, sigstoretest.None)
		}},
		{"v6", "MANIFEST_MALFORMED", func([]byte) ([]byte, error) { return []byte("{}"), nil }},
		{"v7", "MANIFEST_SIGNED_BY_ANOTHER", nil}, // by the key of fleets whose coordinator trusts it
	}
	var releases []dev.Release
	for _, c := range cases {
		releases = append(releases, dev.Release{Tag: c.tag, Config: app{}.config(), Unsigned: c.sign != nil})
	}
	dir := filepath.Join(f.Dir, "repos", "sigstore")
	if err := dev.WriteRepository(dir, releases, key); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if c.sign != nil {
			plain, bundle := f.published(t, dir, c.tag, i+1, c.sign)
			f.verifies(t, root, plain, bundle, c.reason)
		}
	}

	f.deployed(t, "sigstore", &cv1.ContainerSpec{Repository: dir, Tag: "v1"})
	defer f.remove(t, "sigstore")
	f.outside(t, "sigstore", root, dir)
	if plan := f.ok(t, "container", "update", "plan", "sigstore"); !strings.Contains(plan, "release 1, by "+releaseWorkflow.String()) {
		t.Errorf("the plan doesn't say who signed:\n%s", plan)
	}
	for _, c := range cases[1:] {
		_, err := f.Updates.PlanUpdate(bounded(t), &cv1.PlanUpdateRequest{Org: dev.Org, Container: "sigstore", Spec: &cv1.ContainerSpec{Tag: c.tag}, UpdateMask: mask("tag")})
		wantError(t, err, codes.FailedPrecondition, c.reason)
		f.fails(t, 1, "["+c.reason+"]", "container", "relaunch", "sigstore", "--tag", c.tag, "--yes")
	}
	if got := f.get(t, "sigstore"); got.GetActiveTag() != "v1" || got.GetActiveUpdate() != "" {
		t.Errorf("after the refusals %s serves, update %q; want v1 and none", got.GetActiveTag(), got.GetActiveUpdate())
	}
}
