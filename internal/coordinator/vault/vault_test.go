package vault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, seed byte) *Vault {
	t.Helper()
	v, err := New(bytes.Repeat([]byte{seed}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAValueOpensOnlyWhereItWasSealed(t *testing.T) {
	v := open(t, 1)
	sealed := v.Seal("acme", "KEY", 3, []byte("hunter2"))
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Fatal("the sealed value shows the plain one")
	}
	if got, err := v.Open("acme", "KEY", 3, sealed); err != nil || string(got) != "hunter2" {
		t.Errorf("opened %q, %v", got, err)
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for _, tc := range []struct {
		rule    string
		vault   *Vault
		org     string
		name    string
		version int64
		sealed  []byte
	}{
		{"another key", open(t, 2), "acme", "KEY", 3, sealed},
		{"another org", v, "acm", "eKEY", 3, sealed},
		{"another name", v, "acme", "KEX", 3, sealed},
		{"another version", v, "acme", "KEY", 4, sealed},
		{"a changed bit", v, "acme", "KEY", 3, flipped},
		{"nothing", v, "acme", "KEY", 3, nil},
	} {
		if _, err := tc.vault.Open(tc.org, tc.name, tc.version, tc.sealed); !errors.Is(err, ErrWrongKey) {
			t.Errorf("%s: %v, want ErrWrongKey", tc.rule, err)
		}
	}
}

func TestKeysAreDerivedAndStable(t *testing.T) {
	a, b, c := open(t, 1), open(t, 1), open(t, 2)
	if !bytes.Equal(a.PublicKey(), b.PublicKey()) {
		t.Error("the same master key gives two signing keys")
	}
	if bytes.Equal(a.PublicKey(), c.PublicKey()) {
		t.Error("two master keys give the same signing key")
	}
}

func TestLoadKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	made := NewKey()
	for _, tc := range []struct{ rule, path, says string }{
		{"base64 with a newline", write("b64", made), ""},
		{"raw bytes", write("raw", bytes.Repeat([]byte{7}, KeySize)), ""},
		{"too short", write("short", []byte("YWJj")), "neither"},
		{"missing", filepath.Join(dir, "none"), "read the secrets key"},
		{"a credential without systemd", "secrets-key", "CREDENTIALS_DIRECTORY"},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", "")
		key, err := LoadKey(tc.path)
		if tc.says == "" {
			if err != nil || len(key) != KeySize {
				t.Errorf("%s: %d bytes, %v", tc.rule, len(key), err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want it to say %q", tc.rule, err, tc.says)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if _, err := LoadKey("b64"); err != nil {
		t.Errorf("a systemd credential: %v", err)
	}
}
