package sevsnp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
)

// maxRevoked bounds the entries of a revocation list. AMD's lists hold a few ASKs.
const maxRevoked = 10000

// parseCRL reads one revocation list, DER or PEM, and checks that root signed it.
// Lists without an end, with unknown critical extensions, or of a partial kind
// (delta, indirect: both are marked by critical extensions) are refused.
func parseCRL(b []byte, root *x509.Certificate) (*x509.RevocationList, error) {
	ders, err := splitBlocks(b, "X509 CRL")
	if err != nil {
		return nil, err
	}
	if len(ders) != 1 {
		return nil, fmt.Errorf("%d revocation lists, want one", len(ders))
	}
	crl, err := x509.ParseRevocationList(ders[0])
	if err != nil {
		return nil, fmt.Errorf("parse revocation list: %w", err)
	}
	if len(crl.Raw) != len(ders[0]) { // which x509 lets pass
		return nil, fmt.Errorf("%d bytes after the revocation list", len(ders[0])-len(crl.Raw))
	}
	if len(crl.RevokedCertificateEntries) > maxRevoked {
		return nil, fmt.Errorf("%d revoked certificates, want at most %d", len(crl.RevokedCertificateEntries), maxRevoked)
	}
	for _, ext := range crl.Extensions {
		if ext.Critical {
			return nil, fmt.Errorf("revocation list has the critical extension %v", ext.Id)
		}
	}
	if crl.NextUpdate.IsZero() {
		return nil, errors.New("revocation list has no next update")
	}
	if !bytes.Equal(crl.RawIssuer, root.RawSubject) {
		return nil, fmt.Errorf("revocation list is issued by %q, not by %q", crl.Issuer.CommonName, root.Subject.CommonName)
	}
	if err := crl.CheckSignatureFrom(root); err != nil {
		return nil, fmt.Errorf("revocation list is not signed by %s: %w", root.Subject.CommonName, err)
	}
	return crl, nil
}

// checkRevoked refuses a certificate of the root's that the list names, whatever the
// date of its revocation. A VCEK or VLEK is issued by an ASK or ASVK, and so is never
// in the root's list: old ones are put out of use by their TCB.
func checkRevoked(crl *x509.RevocationList, certs ...*x509.Certificate) error {
	for _, c := range certs {
		if e := revokedEntry(crl, c.SerialNumber); e != nil {
			return fmt.Errorf("%s (serial %v) was revoked on %s", c.Subject.CommonName, c.SerialNumber,
				e.RevocationTime.UTC().Format("2006-01-02"))
		}
	}
	return nil
}

func revokedEntry(crl *x509.RevocationList, serial *big.Int) *x509.RevocationListEntry {
	for i := range crl.RevokedCertificateEntries {
		if e := &crl.RevokedCertificateEntries[i]; e.SerialNumber.Cmp(serial) == 0 {
			return e
		}
	}
	return nil
}
