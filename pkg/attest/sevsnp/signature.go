package sevsnp

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"errors"
)

// verifySignature verifies the ECDSA signature over the report's first 0x2A0 bytes
// (ABI table 23, SIGNATURE).
func verifySignature(key *ecdsa.PublicKey, raw []byte) error {
	digest := sha512.Sum384(raw[:offSignature])
	// SEQUENCE of two INTEGERs: at most 2 + 2*(2+49) bytes.
	var buf [104]byte
	der := append(buf[:0], 0x30, 0)
	for _, part := range [...][]byte{raw[offSignature:offSignatureS], raw[offSignatureS:offSignatureEnd]} {
		if !allZero(part[48:]) {
			return errors.New("signature component is longer than 48 bytes")
		}
		der = appendInteger(der, part[:48])
	}
	der[1] = byte(len(der) - 2)
	if !ecdsa.VerifyASN1(key, digest[:], der) {
		return errors.New("signature doesn't verify")
	}
	return nil
}

// appendInteger appends a DER INTEGER from little-endian bytes.
func appendInteger(der, le []byte) []byte {
	n := len(le)
	for n > 1 && le[n-1] == 0 {
		n--
	}
	size := n
	if le[n-1]&0x80 != 0 {
		size++
	}
	der = append(der, 0x02, byte(size))
	if size > n {
		der = append(der, 0)
	}
	for i := n - 1; i >= 0; i-- {
		der = append(der, le[i])
	}
	return der
}
