package cli

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// tagged is a repository with a tag, and the manifest of its release.
type tagged struct {
	dir, commit string
	manifest    *manifest.Manifest
}

func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b.test"}, args...)...)
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func newTagged(t *testing.T, config []byte, shape simulated.Shape) *tagged {
	t.Helper()
	dir := t.TempDir()
	runGit(t, dir, "init", "-q")
	if err := os.WriteFile(filepath.Join(dir, "casemate.yml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	runGit(t, dir, "add", "casemate.yml")
	runGit(t, dir, "commit", "-qm", "release")
	runGit(t, dir, "tag", "v1")
	parsed, _, err := release.Parse("casemate.yml", config)
	if err != nil {
		t.Fatal(err)
	}
	digest := measure.Digest(simulated.Measurement(shape))
	commit := runGit(t, dir, "rev-parse", "HEAD")
	return &tagged{dir, commit, &manifest.Manifest{
		Version: manifest.Version, Repository: dir, Tag: "v1", Commit: commit, Number: 7,
		Created: now, Config: manifest.Config{Name: "casemate.yml", Digest: "sha256:" + digestHex(parsed.Digest()), CVM: "1.0.0"},
		Images:   parsed.Images(),
		Expected: []manifest.Expected{{Platform: attest.FormatSimulated, Shape: "dev", CPUs: 1, MemoryMiB: 1024, Measurement: &digest}},
	}}
}

// attach pushes files beside the tag.
func (r *tagged) attach(t *testing.T, files git.Published) {
	t.Helper()
	if _, err := git.Attach(r.dir, "v1", r.commit, files, now); err != nil {
		t.Fatal(err)
	}
}

func (r *tagged) signed(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	out, err := manifest.Sign(rand.Reader, r.manifest, key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheManifestComesFromTheRepositoryIfNoneIsGiven(t *testing.T) {
	spec, endpoint := bootEnclave(t, "")
	_, strangerKey, policy := releaseFiles(t, spec)
	r := newTagged(t, spec.GetConfig(), simulated.ShapeOf(spec))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "release.pub")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), 0o600); err != nil {
		t.Fatal(err)
	}
	args := func(more ...string) []string {
		return append([]string{"attest", "verify", "https://" + enclaveDomain, "-o", "json", "--connect-to", endpoint, "--policy", policy, "--repo", r.dir, "--tag", "v1"}, more...)
	}
	// refused says why the manifest is; empty if the enclave is accepted.
	refused := func(rule, reason string, more ...string) {
		t.Helper()
		w := enclaveWorld(t)
		code := w.run(t, args(more...)...)
		var v attest.Verdict
		if err := json.Unmarshal(w.out.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v: %s%s", rule, err, &w.out, &w.err)
		}
		i := slices.IndexFunc(v.Checks, func(c attest.Check) bool {
			return !c.OK && c.Name == "release_manifest" && strings.Contains(c.Detail, reason)
		})
		if reason == "" && (code != 0 || !v.Accepted) || reason != "" && (code != 1 || i < 0) {
			t.Errorf("%s: exit code %d, %+v; want the reason %q", rule, code, v.Checks, reason)
		}
	}
	refused("nothing was pushed", "MANIFEST_MISSING", "--signer", key)
	r.attach(t, git.Published{Envelope: r.signed(t, private)})
	refused("a good one", "", "--signer", key)
	refused("signed by another", "MANIFEST_SIGNED_BY_ANOTHER", "--signer", strangerKey)
	refused("an old one", "MANIFEST_BELOW_FLOOR", "--signer", key, "--floor", "8")
	w := enclaveWorld(t)
	if code := w.run(t, args()...); code != ExitUsage || !strings.Contains(w.err.String(), "--signer is missing") {
		t.Errorf("without a signer: exit code %d, %s", code, &w.err)
	}
	text, err := r.manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r.attach(t, git.Published{Plain: text, Bundle: []byte("{}")})
	refused("signed with Sigstore", "Sigstore only", "--signer", key)
	r.attach(t, git.Published{Plain: text})
	refused("unsigned", "MANIFEST_UNSIGNED", "--signer", key)
	r.attach(t, git.Published{Envelope: []byte("x")})
	refused("nonsense", "MANIFEST_MALFORMED", "--signer", key)
	runGit(t, r.dir, "update-ref", "refs/casemate/manifests/v1", r.commit)
	refused("a commit without a manifest", "MANIFEST_MALFORMED", "--signer", key)
	r.manifest.Commit = strings.Repeat("ab", 20)
	r.attach(t, git.Published{Envelope: r.signed(t, private)})
	refused("for another commit", "MANIFEST_OTHER_COMMIT", "--signer", key)
}

func TestConnectTakesTheManifestFromTheRepositoryToo(t *testing.T) {
	spec, endpoint := bootEnclave(t, "")
	_, key, policy := releaseFiles(t, spec)
	r := newTagged(t, spec.GetConfig(), simulated.ShapeOf(spec))
	w := enclaveWorld(t)
	if code := w.run(t, "connect", enclaveDomain, "--port", "0", "--connect-to", endpoint, "--policy", policy, "--signer", key, "--repo", r.dir, "--tag", "v1"); code != ExitFailed || !strings.Contains(w.out.String(), "MANIFEST_MISSING") {
		t.Errorf("exit code %d, %s%s; want 1 and MANIFEST_MISSING", code, &w.out, &w.err)
	}
}
