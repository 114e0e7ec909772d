package measure

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
)

// Digest is a SHA-384 digest or register, 48 bytes; its text form is lower-case hex.
type Digest [sha512.Size384]byte

// LaunchDigest is the MEASUREMENT that an SEV-SNP report will carry.
type LaunchDigest = Digest

// ParseDigest reads 96 hex digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	return d, d.UnmarshalText([]byte(s))
}

// String returns lower-case hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns lower-case hex.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads 96 hex digits.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) != 2*len(d) {
		return fmt.Errorf("digest has %d characters, want %d hex digits", len(b), 2*len(d))
	}
	if _, err := hex.Decode(d[:], b); err != nil {
		return fmt.Errorf("digest is not hex: %w", err)
	}
	return nil
}

// extend does what a measurement register does with a digest.
func (d Digest) extend(by Digest) Digest {
	var buf [2 * sha512.Size384]byte
	copy(buf[:], d[:])
	copy(buf[len(d):], by[:])
	return sha512.Sum384(buf[:])
}
