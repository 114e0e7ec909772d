package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// says is a casemate-sigstore that accepts the identity of these tests, or refuses for
// a reason.
func (w workshop) says(t *testing.T, reason string) string {
	t.Helper()
	if reason == "" {
		return w.helperSays(t, "good", fmt.Sprintf(`{"version":1,"accepted":true,"identity":{"issuer":%q,"subject":%q}}`, bundleIssuer, bundleSubject))
	}
	return w.helperSays(t, reason, `{"version":1,"accepted":false,"reason":"`+reason+`","detail":"the detail"}`)
}

// identified are the flags of who signs, and the program that says so.
func (w workshop) identified(helper string) []string {
	return []string{"--trusted-root", w.in("root.json"), "--issuer", bundleIssuer, "--subject", bundleSubject, "--sigstore", helper}
}

// wantRelease runs attest verify and wants the check release_manifest to pass, or to
// fail, with a text.
func wantRelease(t *testing.T, rule string, code int, says string, args []string) {
	t.Helper()
	w := enclaveWorld(t)
	got := w.run(t, append([]string{"attest", "verify", "https://" + enclaveDomain, "-o", "json"}, args...)...)
	if code == ExitUsage {
		if got != ExitUsage || w.out.Len() > 0 || !strings.Contains(w.err.String(), says) {
			t.Errorf("%s: exit code %d, %s%s; want 2 and %q", rule, got, &w.out, &w.err, says)
		}
		return
	}
	var v attest.Verdict
	if err := json.Unmarshal(w.out.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v: %s%s", rule, err, &w.out, &w.err)
	}
	found := slices.ContainsFunc(v.Checks, func(c attest.Check) bool {
		return c.OK == (code == ExitOK) && c.Name == "release_manifest" && strings.Contains(c.Detail, says)
	})
	if got != code || v.Accepted != (code == ExitOK) || !found {
		t.Errorf("%s: exit code %d, %+v; want %d and %q", rule, got, v.Checks, code, says)
	}
}

func TestAReleaseSignedWithSigstoreIsPinnedFromOutside(t *testing.T) {
	spec, endpoint := bootEnclave(t, "")
	signed, key, policy := releaseFiles(t, spec)
	envelope, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Inside(envelope)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w := workshop{t.TempDir()}
	for name, content := range map[string][]byte{"manifest.json": plain, "bundle.json": []byte("{}"), "root.json": []byte("{}"), "empty": nil} {
		w.put(t, name, content)
	}
	good := w.says(t, "")
	enclave := []string{"--connect-to", endpoint, "--policy", policy}
	by := func(helper string, more ...string) []string {
		files := []string{"--manifest", w.in("manifest.json"), "--bundle", w.in("bundle.json")}
		return slices.Concat(enclave, files, w.identified(helper), more)
	}
	for _, c := range []struct {
		rule string
		code int
		says string
		args []string
	}{
		{"a good bundle", 0, "signed by " + bundleSubject + " (by " + bundleIssuer + ")", by(good)},
		{"a good envelope", 0, "signed by key ", append(slices.Clone(enclave), "--manifest", signed, "--signer", key)},
		{"another identity", 1, "MANIFEST_SIGNED_BY_ANOTHER", by(w.says(t, "BUNDLE_OTHER_IDENTITY"))},
		{"a bad signature", 1, "MANIFEST_BAD_SIGNATURE", by(w.says(t, "BUNDLE_BAD_SIGNATURE"))},
		{"a bundle that is none", 1, "MANIFEST_MALFORMED", by(w.says(t, "BUNDLE_MALFORMED"))},
		{"an empty bundle", 1, "MANIFEST_MISSING", by(good, "--bundle", w.in("empty"))},
		{"an old release", 1, "MANIFEST_BELOW_FLOOR", by(good, "--floor", "8")},
		{"an envelope in the manifest's place", 1, "MANIFEST_MALFORMED", by(good, "--manifest", signed)},
		{"a bundle that isn't there", 2, "--bundle", by(good, "--bundle", w.in("nowhere"))},
		{"a key too", 2, "one of them", by(good, "--signer", key)},
		{"a program that gives no answer", 2, "no answer", by(w.helperSays(t, "dumb", ""))},
		{"a program that isn't there", 2, "make build", by(w.in("nowhere"))},
		{"a pattern for a subject", 2, "patterns", by(good, "--subject", "*")},
		{"half an identity", 2, "belong together", append(slices.Clone(enclave), "--manifest", w.in("manifest.json"), "--bundle", w.in("bundle.json"), "--issuer", bundleIssuer)},
		{"no identity", 2, "--signer is missing", append(slices.Clone(enclave), "--manifest", w.in("manifest.json"), "--bundle", w.in("bundle.json"))},
		{"a key instead of an identity", 2, "counts by an identity", append(slices.Clone(enclave), "--manifest", w.in("manifest.json"), "--bundle", w.in("bundle.json"), "--signer", key)},
		{"no bundle", 2, "give the --bundle", slices.Concat(enclave, w.identified(good), []string{"--manifest", w.in("manifest.json")})},
		{"no manifest", 2, "which is missing", slices.Concat(enclave, w.identified(good), []string{"--bundle", w.in("bundle.json"), "--repo", "x", "--tag", "v1"})},
		{"whatever runs, and a signer", 2, "excludes", slices.Concat(enclave, w.identified(good), []string{"--not-pinned", "release"})},
	} {
		wantRelease(t, c.rule, c.code, c.says, c.args)
	}
	world := enclaveWorld(t)
	if code := world.run(t, append([]string{"connect", enclaveDomain, "--port", "0"}, by(w.says(t, "BUNDLE_BAD_SIGNATURE"))...)...); code != ExitFailed || !strings.Contains(world.out.String(), "MANIFEST_BAD_SIGNATURE") {
		t.Errorf("connect: exit code %d, %s%s", code, &world.out, &world.err)
	}
}

func TestABundleComesFromTheRepositoryToo(t *testing.T) {
	spec, endpoint := bootEnclave(t, "")
	_, key, policy := releaseFiles(t, spec)
	r := newTagged(t, spec.GetConfig(), simulated.ShapeOf(spec))
	plain, err := r.manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w := workshop{t.TempDir()}
	w.put(t, "root.json", []byte("{}"))
	args := func(reason string, more ...string) []string {
		return slices.Concat([]string{"--connect-to", endpoint, "--policy", policy, "--repo", r.dir, "--tag", "v1"}, w.identified(w.says(t, reason)), more)
	}
	wantRelease(t, "nothing was pushed", 1, "MANIFEST_MISSING", args(""))
	r.attach(t, git.Published{Plain: plain, Bundle: []byte("{}")})
	wantRelease(t, "a good one", 0, bundleSubject, args(""))
	wantRelease(t, "a good one, and a key is trusted too", 0, bundleSubject, args("", "--signer", key))
	wantRelease(t, "a bad one", 1, "MANIFEST_BAD_SIGNATURE", args("BUNDLE_BAD_SIGNATURE"))
	wantRelease(t, "an old one", 1, "MANIFEST_BELOW_FLOOR", args("", "--floor", "8"))
	r.attach(t, git.Published{Bundle: []byte("{}")})
	wantRelease(t, "a bundle alone", 1, "MANIFEST_MALFORMED", args(""))
	r.attach(t, git.Published{Plain: plain})
	wantRelease(t, "unsigned", 1, "MANIFEST_UNSIGNED", args(""))
	r.manifest.Commit = strings.Repeat("ab", 20)
	if plain, err = r.manifest.Encode(); err != nil {
		t.Fatal(err)
	}
	r.attach(t, git.Published{Plain: plain, Bundle: []byte("{}")})
	wantRelease(t, "for another commit", 1, "MANIFEST_OTHER_COMMIT", args(""))
}
