package dev

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// The files of the key that signs a fleet's sample releases.
const (
	releaseKeyFile = "release.key"
	releasePubFile = "release.pub"
)

// ReleaseKey is the key that signs the releases of this fleet's repositories: its
// coordinator trusts it and no other, so that a development fleet takes the way of
// a real one. It is made once.
func (f *Fleet) ReleaseKey() (crypto.Signer, error) {
	return releaseKey(f.Dir)
}

func releaseKey(dir string) (crypto.Signer, error) {
	text, err := os.ReadFile(filepath.Join(dir, releaseKeyFile))
	if errors.Is(err, os.ErrNotExist) {
		return newReleaseKey(dir)
	}
	if err != nil {
		return nil, err
	}
	return manifest.ParseSigner(text)
}

func newReleaseKey(dir string) (crypto.Signer, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the release key: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode the release key: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode the release key: %w", err)
	}
	for name, block := range map[string]*pem.Block{
		releasePubFile: {Type: "PUBLIC KEY", Bytes: spki},
		releaseKeyFile: {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	return private, nil
}
