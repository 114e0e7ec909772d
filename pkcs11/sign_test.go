package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	tokenLabel = "casemate-test"
	pin        = "1234"
)

// library finds SoftHSM's library. Without it nothing here is tested, which is a
// failure.
func library(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("SoftHSM is missing: install softhsm2 (apt-get install softhsm2)")
	return ""
}

// hsm is a SoftHSM with one token.
type hsm struct{ dir, library string }

// newHSM makes a token with the keys, by their labels; where an id is missing the
// key's number is it.
func newHSM(t *testing.T) *hsm {
	t.Helper()
	h := &hsm{dir: t.TempDir(), library: library(t)}
	tokens := filepath.Join(h.dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := h.put(t, "softhsm2.conf", []byte("directories.tokendir = "+tokens+"\nlog.level = ERROR\n"))
	t.Setenv("SOFTHSM2_CONF", conf)
	h.put(t, "pin", []byte(pin+"\n"))
	h.util(t, "--init-token", "--free", "--label", tokenLabel, "--so-pin", "5678", "--pin", pin)
	return h
}

func (h *hsm) put(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (h *hsm) util(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("softhsm2-util", args...).CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util %v: %v: %s", args, err, out)
	}
}

// add puts a key into the token.
func (h *hsm) add(t *testing.T, label, id string, key any) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := h.put(t, label+id+".pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	h.util(t, "--import", file, "--token", tokenLabel, "--label", label, "--id", id, "--pin", pin)
}

// args are the program's arguments for a key.
func (h *hsm) args(key ...string) []string {
	return append([]string{"--module", h.library, "--token", tokenLabel, "--pin-file", filepath.Join(h.dir, "pin")}, key...)
}

// ask asks the program in this process.
func ask(args []string, stdin []byte, question ...string) ([]byte, error) {
	var out bytes.Buffer
	err := run(append(slices.Clone(args), question...), bytes.NewReader(stdin), &out)
	return out.Bytes(), err
}

func onCurve(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAKeyInATokenSignsDigests(t *testing.T) {
	h := newHSM(t)
	short, long := sha256.Sum256([]byte("a")), sha512.Sum384([]byte("a"))
	for i, c := range []struct {
		curve  elliptic.Curve
		hash   string
		digest []byte
	}{{elliptic.P256(), "sha256", short[:]}, {elliptic.P384(), "sha384", long[:]}} {
		key, label, id := onCurve(t, c.curve), c.curve.Params().Name, fmt.Sprintf("%02x", i+1)
		h.add(t, label, id, key)
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		for _, named := range [][]string{{"--key", label}, {"--key-id", id}, {"--key", label, "--key-id", id}} {
			public, err := ask(h.args(named...), nil, "public-key")
			if want := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}); err != nil || !bytes.Equal(public, want) {
				t.Errorf("%v: the public key is %s, %v", named, public, err)
			}
			signature, err := ask(h.args(named...), c.digest, "sign", c.hash)
			if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, c.digest, signature) {
				t.Errorf("%v: the signature is %x, %v", named, signature, err)
			}
		}
	}
}

// TestTheCommandLineSignsAManifestWithAToken runs both programs as a release does.
func TestTheCommandLineSignsAManifestWithAToken(t *testing.T) {
	bin := os.Getenv("CASEMATE_BIN")
	if bin == "" {
		bin = t.TempDir()
		built(t, "..", filepath.Join(bin, "casemate"), "./cmd/casemate", "CGO_ENABLED=0")
		built(t, ".", filepath.Join(bin, "casemate-sign-pkcs11"), ".", "CGO_ENABLED=1")
	}
	h := newHSM(t)
	key := onCurve(t, elliptic.P384())
	h.add(t, "release", "01", key)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	config := h.put(t, "casemate.yml", fmt.Appendf(nil, "cvm-version: 1.0.0\ncpus: 1\nmemory: 1024\ncontainers:\n  - name: app\n    image: registry.casemate.test/app@sha256:%064x\nshim:\n  upstream-port: 8080\n", 1))
	platforms := h.put(t, "platforms.yaml", []byte("machines: [{platform: simulated, shape: dev}]\n"))
	public := h.put(t, "release.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	plain, signed := filepath.Join(h.dir, "manifest.json"), filepath.Join(h.dir, "manifest.dsse.json")
	sign := []string{"release", "sign", "--manifest", plain, "--out", signed, "--signer-command", filepath.Join(bin, "casemate-sign-pkcs11")}
	for _, a := range h.args("--key", "release") {
		sign = append(sign, "--signer-arg="+a)
	}
	for _, args := range [][]string{
		{"release", "measure", "--config", config, "--platforms", platforms, "--repository", "https://git.test/acme/api", "--tag", "v1", "--commit", strings.Repeat("ab", 20), "--number", "1", "--out", plain},
		sign,
		{"release", "verify", "--signed", signed, "--key", public, "--tag", "v1"},
	} {
		if out, err := exec.Command(filepath.Join(bin, "casemate"), args...).CombinedOutput(); err != nil {
			t.Fatalf("casemate %v: %v: %s", args[:2], err, out)
		}
	}
}

// built builds a program as the Makefile does.
func built(t *testing.T, dir, out, pkg, cgo string) {
	t.Helper()
	c := exec.Command("go", "build", "-trimpath", "-o", out, pkg)
	c.Dir, c.Env = dir, append(os.Environ(), cgo)
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", pkg, err, text)
	}
}

func TestWhatIsNoKeyToSignWithIsRefused(t *testing.T) {
	h := newHSM(t)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h.add(t, "release", "01", onCurve(t, elliptic.P256()))
	h.add(t, "two", "02", onCurve(t, elliptic.P256()))
	h.add(t, "two", "03", onCurve(t, elliptic.P256()))
	h.add(t, "rsa", "04", weak)
	h.add(t, "wide", "05", onCurve(t, elliptic.P521()))
	h.put(t, "wrong-pin", []byte("0000"))
	h.put(t, "long-pin", make([]byte, maxPIN+1))
	with := func(args ...string) []string { return append(h.args("--key", "release"), args...) }
	for _, c := range []struct {
		rule string
		args []string
		says string
	}{
		{"no such key", h.args("--key", "nobody"), "0 key pairs"},
		{"another id", h.args("--key", "release", "--key-id", "02"), "0 key pairs"},
		{"two keys of that name", h.args("--key", "two"), "2 key pairs"},
		{"an RSA key", h.args("--key", "rsa"), "neither on P-256"},
		{"a key on P-521", h.args("--key", "wide"), "neither on P-256"},
		{"a wrong PIN", with("--pin-file", filepath.Join(h.dir, "wrong-pin")), "PIN"},
		{"a PIN that is a book", with("--pin-file", filepath.Join(h.dir, "long-pin")), "--pin-file"},
		{"a PIN that isn't there", with("--pin-file", filepath.Join(h.dir, "nowhere")), "--pin-file"},
		{"no such token", with("--token", "nobody"), "token"},
		{"a token and a serial", with("--token-serial", "1"), "--token"},
		{"no such library", with("--module", "/nowhere.so"), "open the token"},
		{"a library that is none", with("--module", filepath.Join(h.dir, "pin")), "open the token"},
		{"no library", with("--module="), "--module is missing"},
		{"no key", with("--key="), "give --key"},
		{"an id in words", with("--key-id", "xy"), "--key-id"},
		{"an unknown flag", with("--slot", "1"), "usage"},
		{"a word too many", with("more"), "usage"},
	} {
		if _, err := ask(c.args, nil, "public-key"); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want it refused, and %q", c.rule, err, c.says)
		}
	}
	noPIN := []string{"--module", h.library, "--token", tokenLabel, "--key", "release"}
	if _, err := ask(noPIN, nil, "public-key"); err == nil || !strings.Contains(err.Error(), pinVariable) {
		t.Errorf("no PIN: %v", err)
	}
	t.Setenv(pinVariable, pin)
	if _, err := ask(noPIN, nil, "public-key"); err != nil {
		t.Errorf("the PIN in the environment: %v", err)
	}
	for _, c := range []struct {
		asks  []string
		stdin int
		says  string
	}{
		{[]string{"sign", "none"}, 32, "P-256 and P-384 only"},
		{[]string{"sign", "sha1"}, 20, "P-256 and P-384 only"},
		{[]string{"sign"}, 32, "usage"},
		{nil, 0, "usage"},
		{[]string{"sign", "sha384"}, 48, "another key"},
		{[]string{"sign", "sha256"}, 31, "32 bytes"},
		{[]string{"sign", "sha256"}, 1 << 20, "32 bytes"},
	} {
		out, err := ask(h.args("--key", "release"), make([]byte, c.stdin), c.asks...)
		if err == nil || !strings.Contains(err.Error(), c.says) || len(out) > 0 {
			t.Errorf("%v over %d bytes: %v, and %d bytes of answer; want %q", c.asks, c.stdin, err, len(out), c.says)
		}
	}
}
