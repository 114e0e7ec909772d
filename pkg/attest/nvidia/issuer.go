package nvidia

import (
	"bytes"
	"crypto"
	_ "crypto/sha1"   // OCSP names certificates by hashes that it looks up by number
	_ "crypto/sha256" // likewise
	_ "crypto/sha512" // likewise
	"crypto/x509"
	"encoding/asn1"
	"fmt"
)

// certIDHashes are the digests by which a response may name a certificate.
var certIDHashes = [...]struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
}{
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA384},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA256},
	{asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, crypto.SHA1},
}

// issuer is a certificate with what OCSP responses name it by. It is kept with the
// verified chain: to make it takes longer than all else that is done with a response
// whose signature was verified before.
type issuer struct {
	cert   *x509.Certificate
	digest digest
	ids    [len(certIDHashes)]issuerID // in the order of certIDHashes
}

// issuerID are the hashes of an issuer's name and key (RFC 6960, 4.1.1).
type issuerID struct{ name, key []byte }

// issuersOf are the issuers in a chain: all but the first.
func issuersOf(chain []*x509.Certificate) ([]issuer, error) {
	var out []issuer
	for _, c := range chain[1:] {
		key, err := subjectKey(c)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", c.Subject.CommonName, err)
		}
		i := issuer{cert: c, digest: digestOf(c.Raw)}
		for n, h := range certIDHashes {
			i.ids[n] = issuerID{sum(h.hash, c.RawSubject), sum(h.hash, key)}
		}
		out = append(out, i)
	}
	return out, nil
}

// is tells whether the id is of a certificate of this issuer.
func (i *issuer) is(id ocspCertID) bool {
	for n, h := range certIDHashes {
		if id.Hash.Algorithm.Equal(h.oid) {
			return bytes.Equal(i.ids[n].name, id.NameHash) && bytes.Equal(i.ids[n].key, id.KeyHash)
		}
	}
	return false
}

// subjectKey is a certificate's key as OCSP hashes it: the bits of the
// subjectPublicKey alone.
func subjectKey(c *x509.Certificate) ([]byte, error) {
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return spki.Key.Bytes, nil
}

func sum(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}
