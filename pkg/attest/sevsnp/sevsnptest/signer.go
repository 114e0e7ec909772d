package sevsnptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// rsaBits is the size of the simulated ARK, ASK and ASVK. AMD's have 4096 bits, which
// would take seconds to make.
const rsaBits = 2048

// lifetime is how long simulated certificates live.
const lifetime = 10 * 365 * 24 * time.Hour

// Signer is a simulated AMD: a root key, its two intermediates, and the key of one
// chip. It is not changed after it was made, and safe for concurrent use.
type Signer struct {
	product        sevsnp.Product
	from           time.Time
	ark, ask, asvk authority
	vek            *ecdsa.PrivateKey
}

// authority is a key with its certificate.
type authority struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

// NewSigner makes new keys for a product line, with certificates valid from the given
// time on. It takes a few hundred milliseconds: keep the signer with [Signer.Marshal].
func NewSigner(product sevsnp.Product, from time.Time) (*Signer, error) {
	s := &Signer{product: product, from: from}
	for _, a := range []*authority{&s.ark, &s.ask, &s.asvk} {
		key, err := rsa.GenerateKey(rand.Reader, rsaBits)
		if err != nil {
			return nil, fmt.Errorf("make simulated key: %w", err)
		}
		a.key = key
	}
	var err error
	if s.vek, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make simulated key: %w", err)
	}
	return s, s.certify()
}

func (s *Signer) certify() (err error) {
	root := s.template("ARK-"+s.product.String(), 1)
	root.KeyUsage |= x509.KeyUsageCRLSign
	root.Subject.SerialNumber = sevsnp.SimulatedMark
	s.ark.cert, err = issue(root, root, s.ark.key.Public(), s.ark.key)
	if err != nil {
		return err
	}
	s.ask.cert, err = issue(s.template("SEV-"+s.product.String(), 2), s.ark.cert, s.ask.key.Public(), s.ark.key)
	if err != nil {
		return err
	}
	s.asvk.cert, err = issue(s.template("SEV-VLEK-"+s.product.String(), 3), s.ark.cert, s.asvk.key.Public(), s.ark.key)
	return err
}

// template has what all of AMD's certificates of authorities share (KDS table 7).
func (s *Signer) template(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		Subject: amdName(name), SerialNumber: big.NewInt(serial),
		NotBefore: s.from, NotAfter: s.from.Add(lifetime),
		SignatureAlgorithm: x509.SHA384WithRSAPSS, KeyUsage: x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true,
	}
}

func amdName(name string) pkix.Name {
	return pkix.Name{
		CommonName: name, Organization: []string{"Advanced Micro Devices"}, OrganizationalUnit: []string{"Engineering"},
		Country: []string{"US"}, Locality: []string{"Santa Clara"}, Province: []string{"CA"},
	}
}

func issue(t, parent *x509.Certificate, pub crypto.PublicKey, key *rsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("issue simulated certificate %s: %w", t.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back simulated certificate: %w", err)
	}
	return cert, nil
}

// Product is the product line that the signer simulates.
func (s *Signer) Product() sevsnp.Product { return s.product }

// Roots returns the trusted root for a verifier, with its intermediates.
func (s *Signer) Roots() []sevsnp.Root {
	return []sevsnp.Root{{
		Certificate: s.ark.cert, Intermediates: []*x509.Certificate{s.ask.cert, s.asvk.cert}, Simulated: true,
	}}
}

// RootPEM returns the root's certificate alone, for sevsnp.ParseRoots in another process.
func (s *Signer) RootPEM() []byte { return encodeCerts(s.ark.cert) }

// Chain returns ASK or ASVK and ARK as PEM, in the form of AMD's key distribution service.
func (s *Signer) Chain(kind sevsnp.KeyKind) []byte {
	return encodeCerts(s.issuer(kind).cert, s.ark.cert)
}

func (s *Signer) issuer(kind sevsnp.KeyKind) *authority {
	if kind == sevsnp.VLEK {
		return &s.asvk
	}
	return &s.ask
}

// CRL returns a revocation list of the root's, DER, that names the given serials.
// The ASK's serial is 2, the ASVK's 3.
func (s *Signer) CRL(from, to time.Time, serials ...int64) ([]byte, error) {
	list := &x509.RevocationList{
		SignatureAlgorithm: x509.SHA384WithRSAPSS, Number: big.NewInt(from.Unix()), ThisUpdate: from, NextUpdate: to,
	}
	for _, n := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: from})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, s.ark.cert, s.ark.key)
	if err != nil {
		return nil, fmt.Errorf("sign simulated revocation list: %w", err)
	}
	return der, nil
}

func encodeCerts(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
