package tdx

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
)

// verifyRaw checks an ECDSA P-256 signature in the form r || s over the SHA-256
// of the message.
func verifyRaw(key *ecdsa.PublicKey, message, sig []byte) error {
	if len(sig) != signatureSize {
		return fmt.Errorf("signature of %d bytes, expected %d", len(sig), signatureSize)
	}
	var buf [72]byte
	digest := sha256.Sum256(message)
	if !ecdsa.VerifyASN1(key, digest[:], appendDER(buf[:0], sig)) {
		return errors.New("the signature doesn't verify")
	}
	return nil
}

// appendDER appends r || s as SEQUENCE { INTEGER r, INTEGER s }.
func appendDER(out, raw []byte) []byte {
	r, s := minimal(raw[:32]), minimal(raw[32:64])
	lr, ls := len(r)+int(r[0]>>7), len(s)+int(s[0]>>7)
	out = append(out, 0x30, byte(lr+ls+4))
	for _, n := range [][]byte{r, s} {
		out = append(out, 0x02, byte(len(n)+int(n[0]>>7)))
		if n[0]>>7 == 1 {
			out = append(out, 0)
		}
		out = append(out, n...)
	}
	return out
}

// minimal strips leading zero bytes, leaving at least one byte.
func minimal(n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	return n
}

// rawKey reads a P-256 public key in the form x || y; a point that is not on the
// curve is an error.
func rawKey(raw []byte) (*ecdsa.PublicKey, error) {
	var point [1 + keySize]byte
	point[0] = 4 // SEC 1: uncompressed
	copy(point[1:], raw)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return nil, fmt.Errorf("read attestation key: %w", err)
	}
	return key, nil
}

// certificateKey returns a certificate's P-256 key, the only kind that Intel's
// hierarchy uses.
func certificateKey(cert *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%q has no ECDSA P-256 key", cert.Subject.CommonName)
	}
	return key, nil
}
