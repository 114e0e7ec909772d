// Package secretmsg is the message in which the coordinator delivers secrets to
// one enclave: JSON, signed with the Ed25519 key that the enclave's platform
// part names.
//
// The signature covers the digest of the enclave's TLS key and the nonce of the
// attestation that preceded it, so that a message is of no use to another
// enclave, to the next boot of the same one, or without that attestation. It
// does not hide the values: the TLS connection whose key was attested does.
package secretmsg

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"

	"github.com/casemate-dev/casemate/pkg/attest/evidence/strictjson"
)

// Bounds.
const (
	// Version is the version that is written and read.
	Version = 1
	// MaxBytes is the largest message that is read.
	MaxBytes = 1 << 20
	// MaxSecrets is how many secrets one message carries.
	MaxSecrets = 256
	// MaxValue is the largest value of a secret.
	MaxValue = 64 << 10
	maxName  = 256
)

// tag keeps a signature over a message from being taken for any other.
const tag = "casemate/secrets/v1"

// ErrSignature says that a message is not signed by the expected key, or was
// changed after it was signed.
var ErrSignature = errors.New("the signature does not fit")

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Message is what is delivered.
type Message struct {
	// Nonce is the one of the attestation that was verified before.
	Nonce [32]byte
	// TLSKeyDigest is SHA-256 of the enclave's TLS key (SubjectPublicKeyInfo).
	TLSKeyDigest [32]byte
	// Secrets are the values by name.
	Secrets map[string][]byte
}

// LogValue shows names and never values.
func (m Message) LogValue() slog.Value {
	return slog.AnyValue(slices.Sorted(maps.Keys(m.Secrets)))
}

// String shows names and never values.
func (m Message) String() string {
	return fmt.Sprintf("secrets %v", slices.Sorted(maps.Keys(m.Secrets)))
}

// GoString is String: %#v shows no values either.
func (m Message) GoString() string { return m.String() }

type wire struct {
	Version      int               `json:"version"`
	Nonce        string            `json:"nonce"`
	TLSKeyDigest string            `json:"tls_key_digest"`
	Secrets      map[string]string `json:"secrets"`
	Signature    string            `json:"signature"`
}

// Sign encodes and signs the message. The signer's key must be Ed25519.
func Sign(m Message, signer crypto.Signer) ([]byte, error) {
	if _, ok := signer.Public().(ed25519.PublicKey); !ok {
		return nil, fmt.Errorf("sign secrets: the key is %T, expected Ed25519", signer.Public())
	}
	signature, err := signer.Sign(nil, m.signed(), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("sign secrets: %w", err)
	}
	values := make(map[string]string, len(m.Secrets))
	for name, value := range m.Secrets {
		values[name] = base64.StdEncoding.EncodeToString(value)
	}
	raw, err := json.Marshal(wire{
		Version: Version, Nonce: hex.EncodeToString(m.Nonce[:]), TLSKeyDigest: hex.EncodeToString(m.TLSKeyDigest[:]),
		Secrets: values, Signature: base64.StdEncoding.EncodeToString(signature),
	})
	if err != nil {
		return nil, fmt.Errorf("sign secrets: %w", err)
	}
	if _, _, err := parse(raw); err != nil {
		return nil, fmt.Errorf("sign secrets: %w", err)
	}
	return raw, nil
}

// Open reads a message strictly and checks its signature. Nonce, key digest and
// names are the caller's to compare.
func Open(raw []byte, key ed25519.PublicKey) (*Message, error) {
	m, signature, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("secrets: the key has %d bytes, expected %d", len(key), ed25519.PublicKeySize)
	}
	if !ed25519.Verify(key, m.signed(), signature) {
		return nil, fmt.Errorf("secrets: %w", ErrSignature)
	}
	return m, nil
}

func parse(raw []byte) (*Message, []byte, error) {
	m := &Message{Secrets: map[string][]byte{}}
	var version int
	var signature []byte
	err := strictjson.Object(raw, MaxBytes, strictjson.Fields{
		"version":        strictjson.Integer(&version, 1<<20),
		"nonce":          strictjson.Hex(m.Nonce[:]),
		"tls_key_digest": strictjson.Hex(m.TLSKeyDigest[:]),
		"signature":      strictjson.Base64(&signature, ed25519.SignatureSize),
		"secrets": func(raw json.RawMessage) error {
			return strictjson.Map(raw, MaxBytes, MaxSecrets, m.add)
		},
	}, "version", "nonce", "tls_key_digest", "secrets", "signature")
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("secrets: %w", err)
	case version != Version:
		return nil, nil, fmt.Errorf("secrets: version %d is not supported; version %d is", version, Version)
	case len(signature) != ed25519.SignatureSize:
		return nil, nil, fmt.Errorf("secrets: the signature has %d bytes, expected %d", len(signature), ed25519.SignatureSize)
	}
	return m, signature, nil
}

func (m *Message) add(name string, raw json.RawMessage) error {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return errors.New("is no name of a secret")
	}
	var value []byte
	if err := strictjson.Base64(&value, MaxValue)(raw); err != nil {
		return err
	}
	m.Secrets[name] = value
	return nil
}

// signed is the canonical encoding that is signed: tag, key digest, nonce, the
// number of secrets, and names and values in the order of the names, each
// preceded by its length.
func (m *Message) signed() []byte {
	b := field(nil, []byte(tag))
	b = field(b, m.TLSKeyDigest[:])
	b = field(b, m.Nonce[:])
	b = binary.BigEndian.AppendUint64(b, uint64(len(m.Secrets)))
	for _, name := range slices.Sorted(maps.Keys(m.Secrets)) {
		b = field(b, []byte(name))
		b = field(b, m.Secrets[name])
	}
	return b
}

func field(b, value []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(value))), value...)
}
