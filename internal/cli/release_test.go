package cli

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/release/git"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
	"github.com/casemate-dev/casemate/pkg/release/manifest/manifesttest"
)

const releaseConfig = `cvm-version: 0.14.12
cpus: 2
memory: 8192
containers:
  - name: app
    image: ghcr.io/acme/app@sha256:3333333333333333333333333333333333333333333333333333333333333333
shim:
  upstream-port: 8000
`

const releasePlatforms = `kernel: vmlinuz
initrd: initrd.img
command_line: readonly=on casemate.config={config}
machines:
  - platform: sev-snp
    shape: small
    firmware: OVMF.fd
    vcpu_types: [EPYC-Milan, EPYC-Genoa]
    guest_features: "0x1"
  - platform: tdx
    shape: small
    firmware: OVMF.fd
    kernel_form: as-is
    rtmr0: ` + "%RTMR0%" + `
`

// workshop is a folder with all that a release is made of.
type workshop struct{ dir string }

func newWorkshop(t *testing.T) workshop {
	t.Helper()
	w := workshop{t.TempDir()}
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32)))
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"casemate.yml":   []byte(releaseConfig),
		"platforms.yaml": []byte(strings.Replace(releasePlatforms, "%RTMR0%", strings.Repeat("09", 48), 1)),
		"vmlinuz":        manifesttest.Kernel(),
		"initrd.img":     []byte("initrd"),
		"OVMF.fd":        manifesttest.Firmware(),
		"release.key":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"release.pub":    pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	} {
		w.put(t, name, content)
	}
	return w
}

func (w workshop) in(name string) string { return filepath.Join(w.dir, name) }

func (w workshop) put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(w.in(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

const releaseCommit = "abababababababababababababababababababab"

func (w workshop) measure(more ...string) []string {
	return append([]string{"release", "measure", "--config", w.in("casemate.yml"), "--platforms", w.in("platforms.yaml"),
		"--repository", "https://github.com/acme/api", "--tag", "v1.2.3", "--commit", releaseCommit, "--number", "7"}, more...)
}

// sign makes manifest.json and signed.json.
func (w workshop) sign(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		w.measure("--out", w.in("manifest.json")),
		{"release", "sign", "--manifest", w.in("manifest.json"), "--key", w.in("release.key"), "--out", w.in("signed.json")},
	} {
		if r := runOffline(t, args...); r.code != 0 || r.out != "" || r.err != "" {
			t.Fatalf("%v: exit code %d, %s%s", args[:2], r.code, r.out, r.err)
		}
	}
}

func (w workshop) verify(more ...string) []string {
	return append([]string{"release", "verify", "-o", "json", "--signed", w.in("signed.json"), "--key", w.in("release.pub")}, more...)
}

func TestAManifestComesFromTheCommandLineAsWrittenDown(t *testing.T) {
	w := newWorkshop(t)
	r := runOffline(t, w.measure()...)
	if r.code != 0 || r.err != "" {
		t.Fatalf("exit code %d: %s", r.code, r.err)
	}
	attestGolden(t, "manifest.json", r.out)
	if again := runOffline(t, w.measure("--created", "2026-02-01T00:00:00Z")...); again.out != r.out {
		t.Error("the same inputs gave other bytes")
	}
	if _, err := manifest.Parse([]byte(r.out)); err != nil {
		t.Error(err)
	}
}

func TestASignedReleaseIsAcceptedAndOthersAreRefusedByName(t *testing.T) {
	w := newWorkshop(t)
	w.sign(t)
	other := newWorkshop(t)
	other.put(t, "casemate.yml", []byte(releaseConfig+"# edited\n"))
	stranger := ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", 32)))
	der, err := x509.MarshalPKIXPublicKey(stranger.Public())
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, "stranger.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	w.put(t, "empty.json", nil)
	w.put(t, "junk.json", []byte("junk"))
	full := []string{"--repository", "https://github.com/acme/api", "--tag", "v1.2.3", "--commit", releaseCommit, "--config", w.in("casemate.yml"), "--floor", "7", "--manifest", w.in("manifest.json")}
	swap := func(name string) []string {
		return []string{"release", "verify", "-o", "json", "--signed", w.in(name), "--key", w.in("release.pub")}
	}
	for _, c := range []struct {
		rule   string
		args   []string
		reason manifest.Reason
	}{
		{"all of it named", w.verify(full...), ""},
		{"nothing named", w.verify(), ""},
		{"another trusted key beside", w.verify("--key", w.in("stranger.pub")), ""},
		{"another commit", w.verify("--commit", strings.Repeat("cd", 20)), manifest.OtherCommit},
		{"another tag", w.verify("--tag", "v9"), manifest.OtherTag},
		{"another repository", w.verify("--repository", "https://github.com/acme/other"), manifest.OtherRepository},
		{"another config", w.verify("--config", other.in("casemate.yml")), manifest.OtherConfig},
		{"below the floor", w.verify("--floor", "8"), manifest.BelowFloor},
		{"another manifest beside", w.verify("--manifest", w.in("junk.json")), manifest.Malformed},
		{"missing", swap("nowhere.json"), manifest.Missing},
		{"empty", swap("empty.json"), manifest.Missing},
		{"unreadable", swap("junk.json"), manifest.Malformed},
		{"signed by another", []string{"release", "verify", "-o", "json", "--signed", w.in("signed.json"), "--key", w.in("stranger.pub")}, manifest.SignedByAnother},
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
	}
	plain := slices.DeleteFunc(w.verify(), func(s string) bool { return s == "-o" || s == "json" })
	if r := runOffline(t, plain...); r.code != 0 || !strings.Contains(r.out, "✓ accepted: v1.2.3") {
		t.Errorf("for people: exit code %d, %s", r.code, r.out)
	}
	if r := runOffline(t, append(plain, "--floor", "8")...); r.code != 1 || !strings.Contains(r.out, "MANIFEST_BELOW_FLOOR") {
		t.Errorf("for people, refused: exit code %d, %s", r.code, r.out)
	}
}

func TestReleaseCommandsRefuseWhatTheyCantUse(t *testing.T) {
	w := newWorkshop(t)
	w.sign(t)
	w.put(t, "junk", []byte("junk"))
	// platforms runs measure with another platforms file.
	platforms := func(text string) []string {
		path := attestWrite(t, "p.yaml", []byte(strings.NewReplacer("vmlinuz", w.in("vmlinuz"), "initrd.img", w.in("initrd.img"), "OVMF.fd", w.in("OVMF.fd")).Replace(text)))
		return w.measure("--platforms", path)
	}
	const head = "kernel: vmlinuz\ninitrd: initrd.img\ncommand_line: '{config}'\n"
	for _, c := range []struct {
		rule string
		args []string
		says string
	}{
		{"no config", []string{"release", "measure"}, "is missing"},
		{"no number", w.measure("--number", "0"), "--number"},
		{"a time in words", w.measure("--created", "now"), "--created"},
		{"a config that isn't there", w.measure("--config", w.in("nowhere")), "--config"},
		{"a config that is none", w.measure("--config", w.in("junk")), "--config"},
		{"a short commit", w.measure("--commit", "abc"), "commit"},
		{"a folder that isn't there", w.measure("--out", w.in("no/where")), "--out"},
		{"platforms that aren't there", w.measure("--platforms", w.in("nowhere")), "--platforms"},
		{"platforms with an unknown key", platforms(head + "extra: 1\n"), "extra"},
		{"no kernel", platforms("initrd: initrd.img\nmachines: [{platform: tdx, shape: a, firmware: OVMF.fd}]"), "kernel is missing"},
		{"no initrd", platforms("kernel: vmlinuz\nmachines: [{platform: tdx, shape: a, firmware: OVMF.fd}]"), "initrd is missing"},
		{"a simulated platform with files", platforms(head + "machines: [{platform: simulated, shape: a, firmware: OVMF.fd}]"), "simulated"},
		{"no machines", platforms(head), "expected"},
		{"an unknown platform", platforms(head + "machines: [{platform: sgx, shape: a, firmware: OVMF.fd}]"), "platform is"},
		{"no firmware", platforms(head + "machines: [{platform: tdx, shape: a}]"), "firmware is missing"},
		{"no processors", platforms(head + "machines: [{platform: sev-snp, shape: a, firmware: OVMF.fd}]"), "vcpu_types"},
		{"processors on TDX", platforms(head + "machines: [{platform: tdx, shape: a, firmware: OVMF.fd, vcpu_types: [EPYC]}]"), "vcpu_types"},
		{"features in words", platforms(head + "machines: [{platform: sev-snp, shape: a, firmware: OVMF.fd, vcpu_types: [EPYC], guest_features: all}]"), "guest_features"},
		{"another kernel form", platforms(head + "machines: [{platform: tdx, shape: a, firmware: OVMF.fd, kernel_form: raw}]"), "kernel_form"},
		{"a short rtmr0", platforms(head + "machines: [{platform: tdx, shape: a, firmware: OVMF.fd, rtmr0: '00'}]"), "rtmr0"},
		{"the config not on the command line", platforms(strings.Replace(head, "{config}", "quiet", 1) + "machines: [{platform: tdx, shape: a, firmware: OVMF.fd}]"), "{config}"},
		{"nothing to sign", []string{"release", "sign", "--key", w.in("release.key")}, "--manifest"},
		{"a manifest that is none", []string{"release", "sign", "--manifest", w.in("junk"), "--key", w.in("release.key")}, "--manifest"},
		{"a public key to sign with", []string{"release", "sign", "--manifest", w.in("manifest.json"), "--key", w.in("release.pub")}, "--key"},
		{"a key that isn't there", []string{"release", "sign", "--manifest", w.in("manifest.json"), "--key", w.in("nowhere")}, "--key"},
		{"nobody trusted", []string{"release", "verify", "--signed", w.in("signed.json")}, "--key"},
		{"a private key as trusted", []string{"release", "verify", "--signed", w.in("signed.json"), "--key", w.in("release.key")}, "--key"},
		{"a folder as envelope", []string{"release", "verify", "--signed", w.dir, "--key", w.in("release.pub")}, "--signed"},
		{"a manifest beside that isn't there", w.verify("--manifest", w.in("nowhere")), "--manifest"},
		{"a config to verify that is none", w.verify("--config", w.in("junk")), "--config"},
		{"an argument", w.verify("more"), "more"},
	} {
		t.Run(c.rule, func(t *testing.T) { runOffline(t, c.args...).wantUnusable(t, c.says) })
	}
}

// repository makes a repository whose tag v1.2.3 names a commit, and returns both.
func (w workshop) repository(t *testing.T) (dir, commit string) {
	t.Helper()
	dir = t.TempDir()
	git := func(args ...string) string {
		c := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b.test"}, args...)...)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	if err := os.WriteFile(filepath.Join(dir, "casemate.yml"), []byte(releaseConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	git("add", "casemate.yml")
	git("commit", "-qm", "release")
	git("tag", "v1.2.3")
	return dir, git("rev-parse", "HEAD")
}

func TestAttachPutsTheManifestWhereItIsLookedFor(t *testing.T) {
	w := newWorkshop(t)
	dir, commit := w.repository(t)
	for _, args := range [][]string{
		w.measure("--commit", commit, "--out", w.in("manifest.json")),
		{"release", "sign", "--manifest", w.in("manifest.json"), "--key", w.in("release.key"), "--out", w.in("signed.json")},
	} {
		if r := runOffline(t, args...); r.code != 0 {
			t.Fatalf("%v: exit code %d, %s", args[:2], r.code, r.err)
		}
	}
	w.put(t, "bundle.json", []byte("{}"))
	r := runOffline(t, "release", "attach", "-C", dir, "--signed", w.in("signed.json"), "--manifest", w.in("manifest.json"), "--bundle", w.in("bundle.json"))
	if r.code != 0 || r.out != "refs/casemate/manifests/v1.2.3\n" || r.err != "" {
		t.Fatalf("exit code %d, %q, %s", r.code, r.out, r.err)
	}
	found, err := gitOf(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"signed.json": found.Envelope, "manifest.json": found.Plain, "bundle.json": found.Bundle} {
		want, err := os.ReadFile(w.in(name))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is read back as %q, %v", name, got, err)
		}
	}
}

func gitOf(t *testing.T, dir string) (git.Published, error) {
	t.Helper()
	r, err := git.New(git.Config{LocalPaths: true})
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.Resolve(t.Context(), git.Request{Repository: dir, Tag: "v1.2.3"})
	if err != nil {
		return git.Published{}, err
	}
	return found.Manifest, nil
}

func TestAttachRefusesWhatDoesNotBelongTogether(t *testing.T) {
	w := newWorkshop(t)
	w.sign(t)
	dir, _ := w.repository(t)
	w.put(t, "junk", []byte("junk"))
	w.put(t, "bundle.json", []byte("{}"))
	signed := []string{"release", "attach", "-C", dir, "--signed", w.in("signed.json")}
	other := newWorkshop(t)
	if r := runOffline(t, other.measure("--number", "8", "--out", other.in("manifest.json"))...); r.code != 0 {
		t.Fatal(r.err)
	}
	for _, c := range []struct {
		rule string
		args []string
		says string
	}{
		{"nothing", []string{"release", "attach"}, "--signed"},
		{"a bundle alone", []string{"release", "attach", "--bundle", w.in("bundle.json")}, "--manifest and --bundle"},
		{"a manifest alone", append(signed, "--manifest", w.in("manifest.json")), "--manifest and --bundle"},
		{"an envelope that is none", []string{"release", "attach", "-C", dir, "--signed", w.in("junk")}, "--signed"},
		{"a manifest that is none", []string{"release", "attach", "-C", dir, "--manifest", w.in("junk"), "--bundle", w.in("bundle.json")}, "--manifest"},
		{"two manifests", append(signed, "--manifest", other.in("manifest.json"), "--bundle", w.in("bundle.json")), "not the manifest in --signed"},
		{"another commit than the tag's", signed, "the manifest is for " + releaseCommit},
		{"no repository", []string{"release", "attach", "-C", w.dir, "--signed", w.in("signed.json")}, "repository"},
	} {
		t.Run(c.rule, func(t *testing.T) { runOffline(t, c.args...).wantUnusable(t, c.says) })
	}
}

func TestAReleaseIsMeasuredForDevelopmentAndDebugToo(t *testing.T) {
	w := newWorkshop(t)
	w.put(t, "platforms.yaml", []byte(`kernel: vmlinuz
initrd: initrd.img
command_line: '{config}'
machines:
  - {platform: simulated, shape: dev}
  - {platform: simulated, shape: dev, debug: true}
  - {platform: tdx, shape: small, firmware: OVMF.fd, kernel_form: as-is}
  - {platform: tdx, shape: small, firmware: OVMF.fd, kernel_form: as-is, debug: true, command_line: 'debug {config}'}
`))
	r := runOffline(t, w.measure()...)
	if r.code != 0 {
		t.Fatal(r.err)
	}
	m, err := manifest.Parse([]byte(r.out))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Of(false)) != 2 || len(m.Of(true)) != 2 || *m.Of(false)[1].RTMR2 == *m.Of(true)[1].RTMR2 || *m.Of(false)[0].Measurement == *m.Of(true)[0].Measurement {
		t.Errorf("expected %+v, want debug enclaves apart from the others", m.Expected)
	}
}
