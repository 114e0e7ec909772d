package tdxtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Subject names of Intel's hierarchy, which a verifier looks at.
const (
	NameRoot     = "Intel SGX Root CA"
	NamePlatform = "Intel SGX PCK Platform CA"
	NamePCK      = "Intel SGX PCK Certificate"
	NameSigning  = "Intel SGX TCB Signing"
)

// RootCRLURL is where certificates say that the root's list is; nothing is there.
const RootCRLURL = "https://pcs.invalid/root.der"

// Authority is a certificate with its key.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// PKI stands in for Intel's hierarchy: a root, the PCK CA and the TCB signing
// certificate beneath it.
type PKI struct {
	Root, PCKCA, TCBSigning *Authority
	// NotBefore and NotAfter bound every certificate.
	NotBefore, NotAfter time.Time
}

// NewPKI makes a hierarchy that is valid from a day before the given time until
// ten years after it.
func NewPKI(at time.Time) (*PKI, error) {
	p := &PKI{NotBefore: at.Add(-24 * time.Hour), NotAfter: at.AddDate(10, 0, 0)}
	var err error
	if p.Root, err = p.Issue(nil, NameRoot, CA); err != nil {
		return nil, err
	}
	if p.PCKCA, err = p.Issue(p.Root, NamePlatform, CA); err != nil {
		return nil, err
	}
	p.TCBSigning, err = p.Issue(p.Root, NameSigning, End)
	return p, err
}

// CA and End shape a certificate for [PKI.Issue]: one that signs certificates
// and revocation lists, one that signs data.
func CA(c *x509.Certificate) {
	c.IsCA = true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

// End makes the certificate one that signs no others; see [CA].
func End(c *x509.Certificate) {
	c.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
}

// Issue makes a key and a certificate for it, signed by the parent, or by itself
// if there is none; the shapes change the template in turn.
func (p *PKI) Issue(parent *Authority, name string, shape ...func(*x509.Certificate)) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of %q: %w", name, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159))
	if err != nil {
		return nil, fmt.Errorf("make serial of %q: %w", name, err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, NotBefore: p.NotBefore, NotAfter: p.NotAfter,
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Casemate Test"}, Country: []string{"XX"}},
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
		BasicConstraintsValid: true,
		CRLDistributionPoints: []string{RootCRLURL},
	}
	for _, s := range shape {
		s(tmpl)
	}
	up := &Authority{Cert: tmpl, Key: key}
	if parent != nil {
		up = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, up.Cert, &key.PublicKey, up.Key)
	if err != nil {
		return nil, fmt.Errorf("issue %q: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issue %q: %w", name, err)
	}
	return &Authority{Cert: cert, Key: key}, nil
}

// ChainPEM returns certificates as PEM text.
func ChainPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
