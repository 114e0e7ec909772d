package execsigner

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/casemate-dev/casemate/pkg/oneshot"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// DefaultTimeout bounds one run of the program.
const DefaultTimeout = time.Minute

// Bounds on the program's answers, in bytes.
const (
	maxKey       = 16 << 10
	maxSignature = 1 << 10
)

// What is asked of the program; HASH follows Sign.
const (
	PublicKey = "public-key"
	Sign      = "sign"
)

// Config says which program signs.
type Config struct {
	// Program is its path, Args are its own arguments.
	Program string
	Args    []string
	// Timeout bounds each run; 0 means DefaultTimeout.
	Timeout time.Duration
}

// Signer is a crypto.Signer whose key a program has.
type Signer struct {
	ctx    context.Context // crypto.Signer's method takes none
	cfg    Config
	public crypto.PublicKey
	hash   crypto.Hash
}

// New asks the program for its public key. ctx is the signer's for as long as it is
// used: when it ends the program is killed, with what it started.
func New(ctx context.Context, cfg Config) (*Signer, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	s := &Signer{ctx: ctx, cfg: cfg}
	text, err := s.ask(nil, maxKey, PublicKey)
	if err != nil {
		return nil, fmt.Errorf("ask %s for its public key: %w", cfg.Program, err)
	}
	keys, err := manifest.ParseKeys(text)
	if err == nil && len(keys) != 1 {
		err = fmt.Errorf("%d keys, want one", len(keys))
	}
	if err != nil {
		return nil, fmt.Errorf("the public key that %s gives: %w", cfg.Program, err)
	}
	s.public = keys[0]
	if s.hash, err = manifest.HashOf(s.public); err != nil {
		return nil, fmt.Errorf("the public key that %s gives: %w", cfg.Program, err)
	}
	return s, nil
}

// Public returns the public key.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Sign has the program sign a digest, or the message itself for ed25519. It takes no
// other hash than the key's own, and returns no signature that doesn't verify. The
// random source is the program's.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != s.hash || s.hash != 0 && len(digest) != s.hash.Size() {
		return nil, fmt.Errorf("the key of %s signs digests of %s, not %d bytes of %s", s.cfg.Program, hashName(s.hash), len(digest), hashName(opts.HashFunc()))
	}
	signature, err := s.ask(digest, maxSignature, Sign, hashName(s.hash))
	if err != nil {
		return nil, fmt.Errorf("ask %s to sign: %w", s.cfg.Program, err)
	}
	ok := false
	switch k := s.public.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, digest, signature)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, digest, signature)
	}
	if !ok {
		return nil, fmt.Errorf("what %s gives for a signature: %w", s.cfg.Program, errSignature)
	}
	return signature, nil
}

var errSignature = errors.New("it is not by the key that the program names, over what it was given: it must be raw bytes, DER for ECDSA")

// hashName is the word for a hash in the protocol.
func hashName(h crypto.Hash) string {
	switch h {
	case 0:
		return "none"
	case crypto.SHA256:
		return "sha256"
	case crypto.SHA384:
		return "sha384"
	}
	return h.String()
}

func (s *Signer) ask(stdin []byte, limit int, what ...string) ([]byte, error) {
	args := append(append([]string(nil), s.cfg.Args...), what...)
	return oneshot.Ask(s.ctx, oneshot.Command{Path: s.cfg.Program, Args: args, Stdin: stdin, Timeout: s.cfg.Timeout, MaxOut: limit})
}
