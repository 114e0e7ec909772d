package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ThalesGroup/crypto11"
)

// run answers one question of the protocol.
func run(args []string, in io.Reader, out io.Writer) (err error) {
	o, question, err := parse(args)
	if err != nil {
		return err
	}
	token, err := o.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	key, err := o.find(token)
	if err != nil {
		return err
	}
	answer, err := reply(key, question, in)
	if err != nil {
		return err
	}
	if _, err := out.Write(answer); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// find finds the one key that is meant.
func (o options) find(token *crypto11.Context) (crypto.Signer, error) {
	keys, err := token.FindKeyPairs(o.id, []byte(o.label))
	if err != nil {
		return nil, fmt.Errorf("look for the key in the token: %w", err)
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("%d key pairs of that name in the token, want one: name its --key and --key-id; private and public key must both be there, with the same id", len(keys))
	}
	return keys[0], nil
}

// reply gives the public key, or a signature.
func reply(key crypto.Signer, question []string, in io.Reader) ([]byte, error) {
	hash := hashOf(key.Public())
	if hash == 0 {
		return nil, errors.New("the key in the token is neither on P-256 nor on P-384: no other signs manifests from a token")
	}
	if question[0] == wordPublicKey {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, fmt.Errorf("encode the public key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
	}
	if hashes[question[1]] != hash {
		return nil, fmt.Errorf("the key in the token doesn't sign digests of %s: it is another key than was asked before", question[1])
	}
	digest, err := io.ReadAll(io.LimitReader(in, int64(hash.Size())+1))
	if err != nil {
		return nil, fmt.Errorf("read the digest: %w", err)
	}
	if len(digest) != hash.Size() {
		return nil, fmt.Errorf("on stdin are not the %d bytes of a digest", hash.Size())
	}
	signature, err := key.Sign(nil, digest, hash)
	if err != nil {
		return nil, fmt.Errorf("sign in the token: %w", err)
	}
	return signature, nil
}

// What is asked: words of the protocol in pkg/release/execsigner, which is not
// imported: it would bring all that a manifest is made of.
const (
	wordPublicKey = "public-key"
	wordSign      = "sign"
)

// hashes are those that keys in tokens sign; ed25519, which signs messages, is not
// among them.
var hashes = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384}

// hashOf is the hash that follows from a key; 0 if it can't sign.
func hashOf(key crypto.PublicKey) crypto.Hash {
	k, ok := key.(*ecdsa.PublicKey)
	switch {
	case ok && k.Curve == elliptic.P256():
		return crypto.SHA256
	case ok && k.Curve == elliptic.P384():
		return crypto.SHA384
	}
	return 0
}

// asked says whether the words are a question of the protocol.
func asked(words []string) bool {
	return slices.Equal(words, []string{wordPublicKey}) || len(words) == 2 && words[0] == wordSign && hashes[words[1]] != 0
}
