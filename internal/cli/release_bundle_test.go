package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

const (
	bundleIssuer  = "https://issuer.test"
	bundleSubject = "https://git.test/acme/api/release.yaml@refs/heads/main"
)

// helperSays puts a casemate-sigstore that gives an answer into the folder.
func (w workshop) helperSays(t *testing.T, name, answer string) string {
	t.Helper()
	w.put(t, name, []byte("#!/bin/sh\nwhile read -r line; do :; done\necho '"+answer+"'\n"))
	if err := os.Chmod(w.in(name), 0o700); err != nil {
		t.Fatal(err)
	}
	return w.in(name)
}

// byBundle are the arguments that verify the manifest by a bundle.
func (w workshop) byBundle(helper string, more ...string) []string {
	return append([]string{"release", "verify", "-o", "json", "--manifest", w.in("manifest.json"), "--bundle", w.in("bundle.json"), "--trusted-root", w.in("root.json"),
		"--issuer", bundleIssuer, "--subject", bundleSubject, "--sigstore", helper}, more...)
}

// bundled is a workshop with a manifest and what passes for a bundle and a root.
func bundled(t *testing.T) workshop {
	t.Helper()
	w := newWorkshop(t)
	w.sign(t)
	w.put(t, "bundle.json", []byte("{}"))
	w.put(t, "root.json", []byte("{}"))
	return w
}

func TestAManifestIsVerifiedByItsSigstoreBundle(t *testing.T) {
	w := bundled(t)
	good := w.helperSays(t, "good", fmt.Sprintf(`{"version":1,"accepted":true,"identity":{"issuer":%q,"subject":%q}}`, bundleIssuer, bundleSubject))
	no := func(reason string) string {
		return w.helperSays(t, reason, `{"version":1,"accepted":false,"reason":"`+reason+`","detail":"the detail"}`)
	}
	w.put(t, "other.json", []byte("{}\n"))
	for _, c := range []struct {
		rule   string
		args   []string
		reason manifest.Reason
	}{
		{"a good bundle", w.byBundle(good, "--tag", "v1.2.3", "--floor", "7", "--config", w.in("casemate.yml")), ""},
		{"another tag", w.byBundle(good, "--tag", "v9"), manifest.OtherTag},
		{"below the floor", w.byBundle(good, "--floor", "8"), manifest.BelowFloor},
		{"another's identity", w.byBundle(no("BUNDLE_OTHER_IDENTITY")), manifest.SignedByAnother},
		{"a bad signature", w.byBundle(no("BUNDLE_BAD_SIGNATURE")), manifest.BadSignature},
		{"a bundle that is none", w.byBundle(no("BUNDLE_MALFORMED")), manifest.Malformed},
		{"a manifest that is none", w.byBundle(good, "--manifest", w.in("other.json")), manifest.Malformed},
		{"no bundle", w.byBundle(good, "--bundle", w.in("nowhere")), manifest.Missing},
		{"no manifest", w.byBundle(good, "--manifest", w.in("nowhere")), manifest.Missing},
	} {
		r := runOffline(t, c.args...)
		var got verified
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatalf("%s: %v: %s%s", c.rule, err, r.out, r.err)
		}
		code := map[bool]int{true: 0, false: 1}[c.reason == ""]
		if got.Reason != c.reason || got.Accepted != (code == 0) || r.code != code || r.err != "" {
			t.Errorf("%s: exit code %d, %+v, %s; want %d and %q", c.rule, r.code, got, r.err, code, c.reason)
		}
		if got.Accepted && got.SignedBy != bundleSubject+" (by "+bundleIssuer+")" {
			t.Errorf("%s: signed by %q", c.rule, got.SignedBy)
		}
	}
}

func TestABundleIsNotVerifiedWithoutWhatItTakes(t *testing.T) {
	w := bundled(t)
	dumb := w.helperSays(t, "dumb", "")
	without := func(flag string) []string {
		args := w.byBundle(dumb)
		i := slices.Index(args, flag)
		return slices.Delete(args, i, i+2)
	}
	for _, c := range []struct {
		rule string
		args []string
		says string
	}{
		{"no manifest", without("--manifest"), "belong together"},
		{"no bundle", without("--bundle"), "belong together"},
		{"no trusted root", without("--trusted-root"), "belong together"},
		{"no issuer", without("--issuer"), "belong together"},
		{"no subject", without("--subject"), "belong together"},
		{"a bundle and an envelope", w.byBundle(dumb, "--signed", w.in("signed.json")), "--signed and --key"},
		{"a bundle and a key", w.byBundle(dumb, "--key", w.in("release.pub")), "--signed and --key"},
		{"an envelope without a key", []string{"release", "verify", "--signed", w.in("signed.json")}, "both are needed"},
		{"neither", []string{"release", "verify"}, "--bundle"},
		{"a pattern for a subject", w.byBundle(dumb, "--subject", "*"), "patterns"},
		{"a trusted root that isn't there", w.byBundle(dumb, "--trusted-root", w.in("nowhere")), "--trusted-root"},
		{"a program that isn't there", w.byBundle(w.in("nowhere")), "make build"},
		{"a program that gives no answer", w.byBundle(dumb), "no answer"},
	} {
		t.Run(c.rule, func(t *testing.T) { runOffline(t, c.args...).wantUnusable(t, c.says) })
	}
}

func TestWithoutTheProgramItIsSaidWhatToDo(t *testing.T) {
	w := bundled(t)
	args := w.byBundle("")
	args = args[:len(args)-2] // no --sigstore
	t.Setenv("PATH", t.TempDir())
	r := runOffline(t, args...)
	r.wantUnusable(t, "casemate-sigstore isn't installed")
	for _, says := range []string{"beside casemate", "make build", "--sigstore FILE"} {
		if !strings.Contains(r.err, says) {
			t.Errorf("%q doesn't say %q", r.err, says)
		}
	}
	t.Setenv("PATH", w.dir)
	w.helperSays(t, "casemate-sigstore", fmt.Sprintf(`{"version":1,"accepted":true,"identity":{"issuer":%q,"subject":%q}}`, bundleIssuer, bundleSubject))
	if r := runOffline(t, args...); r.code != 0 {
		t.Errorf("with the program in PATH: exit code %d, %s%s", r.code, r.out, r.err)
	}
}
