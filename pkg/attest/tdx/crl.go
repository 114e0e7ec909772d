package tdx

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/big"
)

// maxCRLSize bounds a revocation list; Intel's are below 10 KiB.
const maxCRLSize = 4 << 20

// crl is a revocation list whose signature was checked.
type crl struct {
	revoked map[string]struct{} // serial numbers, as big-endian bytes
	window  window
}

// verifyCRL reads a revocation list in DER or PEM and checks that the issuer
// signed it.
func verifyCRL(in []byte, issuer *x509.Certificate) (*crl, error) {
	if len(in) > maxCRLSize {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(in), maxCRLSize)
	}
	der, err := derOrPEM(in, pemCRL)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(list.Raw) != len(der) { // which x509 lets pass
		return nil, fmt.Errorf("%d bytes after the list", len(der)-len(list.Raw))
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
		return nil, fmt.Errorf("issued by %q, expected %q", list.Issuer.CommonName, issuer.Subject.CommonName)
	}
	if list.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return nil, fmt.Errorf("signed with %v, expected ECDSA with SHA-256", list.SignatureAlgorithm)
	}
	for _, e := range list.Extensions {
		if e.Critical {
			return nil, fmt.Errorf("it has the unknown critical extension %v", e.Id)
		}
	}
	if list.NextUpdate.IsZero() {
		return nil, fmt.Errorf("it doesn't say when the next one is due")
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	c := &crl{revoked: make(map[string]struct{}, len(list.RevokedCertificateEntries)), window: window{list.ThisUpdate, list.NextUpdate}}
	for _, r := range list.RevokedCertificateEntries {
		c.revoked[string(r.SerialNumber.Bytes())] = struct{}{}
	}
	return c, nil
}

// lists tells whether a certificate's serial number is revoked.
func (c *crl) lists(serial *big.Int) bool {
	var buf [32]byte
	n := (serial.BitLen() + 7) / 8
	if n > len(buf) {
		_, ok := c.revoked[string(serial.Bytes())]
		return ok
	}
	serial.FillBytes(buf[:n])
	_, ok := c.revoked[string(buf[:n])]
	return ok
}
