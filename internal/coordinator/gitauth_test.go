package coordinator

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGitCredentials(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	good := write(t, "id", pem.EncodeToMemory(block))
	hosts := write(t, "known_hosts", nil)
	token := write(t, "token", []byte("t0ken\n"))
	for _, tc := range []struct {
		rule string
		git  Git
		says string
	}{
		{"none are needed", Git{}, ""},
		{"a key with known hosts", Git{SSHKey: good, KnownHosts: hosts}, ""},
		{"a key that is none", Git{SSHKey: token, KnownHosts: hosts}, "git.ssh_key"},
		{"known hosts that are missing", Git{SSHKey: good, KnownHosts: "/nowhere"}, "git.known_hosts"},
		{"a token for one host", Git{HTTPSToken: token, HTTPSUser: "git", HTTPSHost: "git.example"}, ""},
		{"a token that is missing", Git{HTTPSToken: "/nowhere", HTTPSHost: "git.example"}, "git.https_token"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			tc.git.Timeout = time.Second
			r, err := tc.git.resolver()
			if tc.says == "" && (err != nil || r == nil) {
				t.Errorf("got %v", err)
			}
			if tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("got %v, want %s named", err, tc.says)
			}
		})
	}
}

func TestCredentialsThatAreHalfSetAreRefused(t *testing.T) {
	var c Config
	c.SetDefaults()
	c.BaseDomain = "x.test"
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.Git.SSHKey, c.Git.HTTPSToken = "k", "t"
	err := c.Validate()
	for _, key := range []string{"git.known_hosts", "git.https_host"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}
