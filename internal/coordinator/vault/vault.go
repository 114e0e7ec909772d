// Package vault seals the values of secrets at rest and holds the key that signs
// their delivery. Both keys are derived from one master key, which lies in a file
// or a systemd credential and nowhere else.
package vault

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// KeySize is the size of the master key in bytes.
const KeySize = 32

// Labels keep the derived keys apart.
const (
	sealLabel = "casemate/secrets-at-rest/v1"
	signLabel = "casemate/secrets-delivery/v1"
)

// Vault seals and opens secret values. It is safe for concurrent use.
type Vault struct {
	aead   cipher.AEAD
	signer ed25519.PrivateKey
}

// New derives the keys from a master key of KeySize bytes.
func New(master []byte) (*Vault, error) {
	if len(master) != KeySize {
		return nil, fmt.Errorf("the secrets key has %d bytes, it must have %d: make one with `head -c 32 /dev/urandom | base64`", len(master), KeySize)
	}
	sealKey, err := hkdf.Key(sha256.New, master, nil, sealLabel, KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the sealing key: %w", err)
	}
	seed, err := hkdf.Key(sha256.New, master, nil, signLabel, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive the signing key: %w", err)
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return nil, fmt.Errorf("make the cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make the cipher: %w", err)
	}
	return &Vault{aead: aead, signer: ed25519.NewKeyFromSeed(seed)}, nil
}

// LoadKey reads a master key, base64 or raw, from a file. A name without a slash
// is a systemd credential.
func LoadKey(name string) ([]byte, error) {
	path := name
	if !strings.Contains(name, "/") {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, fmt.Errorf("secrets key %q names a systemd credential, but CREDENTIALS_DIRECTORY is not set: give a path, or LoadCredential= in the unit", name)
		}
		path = filepath.Join(dir, name)
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read the secrets key: %w", err)
	}
	if len(raw) == KeySize {
		return raw, nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(key) != KeySize {
		return nil, fmt.Errorf("%s holds neither %d raw bytes nor their base64: make one with `head -c 32 /dev/urandom | base64`", path, KeySize)
	}
	return key, nil
}

// Signer signs deliveries; its public half goes into each enclave's platform part.
func (v *Vault) Signer() crypto.Signer { return v.signer }

// PublicKey is the Ed25519 public key of Signer, 32 bytes.
func (v *Vault) PublicKey() []byte { return v.signer.Public().(ed25519.PublicKey) }

// Seal encrypts one version of a secret. The result opens only as that version
// of that secret.
func (v *Vault) Seal(org, name string, version int64, value []byte) []byte {
	return v.aead.Seal(nil, nil, value, context(org, name, version))
}

// ErrWrongKey says that a value does not open: it was sealed under another key,
// or changed, or moved.
var ErrWrongKey = errors.New("the value does not open under this secrets key: restore the key it was set with, or set the secret again")

// Open decrypts one version of a secret.
func (v *Vault) Open(org, name string, version int64, sealed []byte) ([]byte, error) {
	value, err := v.aead.Open(nil, nil, sealed, context(org, name, version))
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s version %d: %w", org, name, version, ErrWrongKey)
	}
	return value, nil
}

// context binds a sealed value to its place; texts are preceded by their lengths.
func context(org, name string, version int64) []byte {
	var b []byte
	for _, s := range []string{org, name} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(version)) //nolint:gosec // versions start at 1
}

// NewKey makes a master key, base64, with a newline.
func NewKey() []byte {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails, since Go 1.24
	return append([]byte(base64.StdEncoding.EncodeToString(key)), '\n')
}
