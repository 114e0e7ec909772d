package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"net/url"
	"strings"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// Extensions of a certificate: who vouched for its owner (Fulcio's oid-info.md),
// and that logs have seen it (RFC 6962, 3.3).
var (
	oidIssuer     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	oidTimestamps = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// issue makes the certificate of an identity, DER.
func (s *Sigstore) issue(key *ecdsa.PrivateKey, who sigstore.Identity, flaw Flaw) ([]byte, error) {
	vouched, err := asn1.MarshalWithParams(who.Issuer, "utf8")
	if err != nil {
		return nil, fmt.Errorf("encode the issuer: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    s.at, NotAfter: s.at.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: oidIssuer, Value: vouched}},
	}
	if strings.Contains(who.Subject, "://") {
		u, err := url.Parse(who.Subject)
		if err != nil {
			return nil, fmt.Errorf("the identity's subject: %w", err)
		}
		t.URIs = []*url.URL{u}
	} else {
		t.EmailAddresses = []string{who.Subject}
	}
	if flaw != NoCertificateTimestamp {
		seen, err := s.seen(t, key, flaw)
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, seen)
	}
	leaf, err := parse(x509.CreateCertificate(rand.Reader, t, s.issuer, &key.PublicKey, s.issuerKey))
	if err != nil {
		return nil, err
	}
	return leaf.Raw, nil
}

// seen is the log's word for a certificate: signed over what the certificate is
// without it (RFC 6962, 3.2 and 3.3).
func (s *Sigstore) seen(t *x509.Certificate, key *ecdsa.PrivateKey, flaw Flaw) (pkix.Extension, error) {
	bare := *t
	if flaw == OtherCertificateTimestamp {
		bare.SerialNumber = big.NewInt(3)
	}
	made, err := parse(x509.CreateCertificate(rand.Reader, &bare, s.issuer, &key.PublicKey, s.issuerKey))
	if err != nil {
		return pkix.Extension{}, err
	}
	at := binary.BigEndian.AppendUint64(nil, uint64(s.at.UnixMilli()))
	issuer := sha256.Sum256(s.issuer.RawSubjectPublicKeyInfo)
	message := append([]byte{0, 0}, at...) // v1, certificate_timestamp
	message = append(message, 0, 1)        // precert_entry
	message = append(message, issuer[:]...)
	size := len(made.RawTBSCertificate)
	message = append(message, byte(size>>16), byte(size>>8), byte(size))
	message = append(message, made.RawTBSCertificate...)
	message = append(message, 0, 0) // no extensions
	signature, err := signed(s.certificate, message)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("sign for the certificate: %w", err)
	}
	id, _, err := logID(&s.certificate.PublicKey)
	if err != nil {
		return pkix.Extension{}, err
	}
	timestamp := append([]byte{0}, id...)
	timestamp = append(append(timestamp, at...), 0, 0)
	timestamp = append(timestamp, 4, 3) // SHA-256, ECDSA
	timestamp = append(binary.BigEndian.AppendUint16(timestamp, uint16(len(signature))), signature...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(timestamp)+2))
	list = append(binary.BigEndian.AppendUint16(list, uint16(len(timestamp))), timestamp...)
	value, err := asn1.Marshal(list)
	return pkix.Extension{Id: oidTimestamps, Value: value}, err
}
