package execsigner

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain is the signing program too: where a key is named in its environment it
// signs as the protocol says.
func TestMain(m *testing.M) {
	if key := os.Getenv("SIGNER_KEY"); key != "" {
		os.Exit(program(key, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// program signs with a key in a file; its arguments must be its own, --slot 1, and
// those of the protocol.
func program(file string, args []string) int {
	text, err := os.ReadFile(file)
	if err != nil || len(args) < 3 || args[0] != "--slot" || args[1] != "1" {
		os.Stderr.WriteString("no key, or other arguments\n")
		return 1
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return 1
	}
	signer := key.(crypto.Signer)
	if args[2] == PublicKey {
		der, err := x509.MarshalPKIXPublicKey(signer.Public())
		if err != nil {
			return 1
		}
		return written(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	hash := map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "none": 0}[args[3]]
	message, err := io.ReadAll(os.Stdin)
	if err != nil || args[2] != Sign {
		return 1
	}
	signature, err := signer.Sign(rand.Reader, message, hash)
	if err != nil {
		return 1
	}
	return written(signature)
}

func written(b []byte) int {
	if _, err := os.Stdout.Write(b); err != nil {
		return 1
	}
	return 0
}

func keyFile(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, "key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func put(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func script(t *testing.T, text string) Config {
	t.Helper()
	return Config{Program: put(t, "sign", []byte("#!/bin/sh\n"+text+"\n")), Timeout: time.Minute}
}

func ecdsaKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAProgramSignsForEveryKindOfKey(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	message := []byte(strings.Repeat("a message ", 100_000))
	short, long := sha256.Sum256(message), sha512.Sum384(message)
	for _, c := range []struct {
		kind   string
		key    any
		digest []byte
		hash   crypto.Hash
	}{
		{"ed25519", edKey(t), message, 0},
		{"P-256", ecdsaKey(t, elliptic.P256()), short[:], crypto.SHA256},
		{"P-384", ecdsaKey(t, elliptic.P384()), long[:], crypto.SHA384},
	} {
		t.Setenv("SIGNER_KEY", keyFile(t, c.key))
		s, err := New(t.Context(), Config{Program: self, Args: []string{"--slot", "1"}})
		if err != nil {
			t.Fatalf("%s: %v", c.kind, err)
		}
		if want := c.key.(crypto.Signer).Public(); !want.(interface{ Equal(crypto.PublicKey) bool }).Equal(s.Public()) {
			t.Errorf("%s: the public key is %v", c.kind, s.Public())
		}
		if _, err := s.Sign(nil, c.digest, c.hash); err != nil {
			t.Errorf("%s: %v", c.kind, err)
		}
		for _, other := range []crypto.Hash{0, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			if other == c.hash {
				continue
			}
			if _, err := s.Sign(nil, c.digest, other); err == nil || !strings.Contains(err.Error(), "signs digests of") {
				t.Errorf("%s signs a digest of another hash (%d): %v", c.kind, other, err)
			}
		}
		if c.hash != 0 {
			if _, err := s.Sign(nil, c.digest[1:], c.hash); err == nil {
				t.Errorf("%s signs a digest that is too short", c.kind)
			}
		}
	}
}

func TestAProgramWithoutAUsableKeyIsRefused(t *testing.T) {
	public := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	one := public(edKey(t).Public())
	cat := func(content []byte) Config { return script(t, "cat "+put(t, "out", content)) }
	slow := script(t, "while :; do :; done")
	slow.Timeout = 50 * time.Millisecond
	for rule, c := range map[string]struct {
		cfg  Config
		says string
	}{
		"no program":      {Config{Program: "/nowhere/sign"}, "no such file"},
		"a failure":       {script(t, "echo the token is missing >&2; exit 1"), "the token is missing"},
		"silence":         {script(t, "exit 0"), "no key"},
		"no key":          {script(t, "echo key"), "PUBLIC KEY"},
		"two keys":        {cat(append(append([]byte(nil), one...), one...)), "2 keys"},
		"an RSA key":      {cat(public(&weak.PublicKey)), "ed25519"},
		"a key on P-521":  {cat(public(&ecdsaKey(t, elliptic.P521()).PublicKey)), "P-256"},
		"a private key":   {script(t, "cat "+keyFile(t, edKey(t))), "PUBLIC KEY"},
		"a book":          {cat(make([]byte, maxKey+1)), "more than"},
		"no end":          {slow, "in time"},
		"certificates":    {script(t, "echo '-----BEGIN CERTIFICATE-----'"), "PUBLIC KEY"},
		"words and a key": {script(t, "echo here it is; cat "+put(t, "out", one)+"; echo bye"), "PUBLIC KEY"},
	} {
		if _, err := New(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %.300v; want it refused, and %q", rule, err, c.says)
		}
	}
}

func TestASignatureIsUsedOnlyIfItVerifies(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := put(t, "pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	digest, other := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b"))
	signature := func(key *ecdsa.PrivateKey, digest []byte) string {
		sig, err := ecdsa.SignASN1(rand.Reader, key, digest)
		if err != nil {
			t.Fatal(err)
		}
		return put(t, "sig", sig)
	}
	good := signature(key, digest[:])
	for _, c := range []struct{ rule, signs, says string }{
		{"a good one", "cat " + good, ""},
		{"over another message", "cat " + signature(key, other[:]), "not by the key"},
		{"by another key", "cat " + signature(ecdsaKey(t, elliptic.P256()), digest[:]), "not by the key"},
		{"in base64", "base64 " + good, "not by the key"},
		{"with a line end", "cat " + good + "; echo", "not by the key"},
		{"none", "true", "not by the key"},
		{"r and s, not DER", "head -c 64 /dev/zero", "not by the key"},
		{"an endless one", "cat /dev/zero | head -c 1000000", "more than"},
		{"a failure", "echo the pin is wrong >&2; exit 1", "the pin is wrong"},
	} {
		s, err := New(t.Context(), script(t, `if [ "$1" = public-key ]; then cat `+public+`; exit; fi
[ "$1 $2 $#" = "sign sha256 2" ] && [ "$(wc -c)" -eq 32 ] || exit 9
`+c.signs))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Sign(nil, digest[:], crypto.SHA256)
		if c.says == "" && err != nil || c.says != "" && (err == nil || got != nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %x, %v; want %q", c.rule, got, err, c.says)
		}
	}
}
