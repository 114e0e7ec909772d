package manifest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
)

// errKey says that a key is of a kind that signs no manifests.
var errKey = errors.New("want an ed25519 key, or an ECDSA key on P-256 or P-384")

// KeyID is the lower-case hex of the SHA-256 of a public key's SubjectPublicKeyInfo.
func KeyID(public crypto.PublicKey) (string, error) {
	if _, err := HashOf(public); err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// HashOf is the digest that is signed with a key, and follows from the key alone; 0
// means the message itself. Keys of other kinds sign no manifests.
func HashOf(public crypto.PublicKey) (crypto.Hash, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return 0, nil
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return crypto.SHA256, nil
		case elliptic.P384():
			return crypto.SHA384, nil
		}
	}
	return 0, errKey
}

func digested(h crypto.Hash, message []byte) []byte {
	switch h {
	case crypto.SHA256:
		sum := sha256.Sum256(message)
		return sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(message)
		return sum[:]
	}
	return message
}

func signWith(random io.Reader, s crypto.Signer, message []byte) ([]byte, error) {
	h, err := HashOf(s.Public())
	if err != nil {
		return nil, err
	}
	return s.Sign(random, digested(h, message), h)
}

func verifyWith(public crypto.PublicKey, message, sig []byte) error {
	h, err := HashOf(public)
	if err != nil {
		return err
	}
	ok := false
	switch k := public.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, message, sig)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, digested(h, message), sig)
	}
	if !ok {
		return errors.New("the signature is not by this key over this manifest")
	}
	return nil
}

// ParseSigner reads a private key from PEM, PKCS #8, as `openssl genpkey -algorithm
// ed25519` writes it.
func ParseSigner(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("want one PRIVATE KEY in PEM, as openssl genpkey -algorithm ed25519 writes it")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errKey
	}
	if _, err := HashOf(s.Public()); err != nil {
		return nil, err
	}
	return s, nil
}

// maxKeys bounds the trusted keys of a file.
const maxKeys = 64

// ParseKeys reads public keys from PEM, as `openssl pkey -pubout` writes them; a
// file may hold several.
func ParseKeys(text []byte) ([]crypto.PublicKey, error) {
	var out []crypto.PublicKey
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "PUBLIC KEY" || len(out) == maxKeys {
			return nil, fmt.Errorf("want 1 to %d PUBLIC KEYs in PEM, as openssl pkey -pubout writes them", maxKeys)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		if _, err := HashOf(key); err != nil {
			return nil, err
		}
		out, text = append(out, key), rest
	}
	if len(out) == 0 {
		return nil, errors.New("no key in it")
	}
	return out, nil
}
