package nvidiatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// The certificates of authorities are valid from Epoch to Forever.
var (
	Epoch   = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	Forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// Signer is a certificate with its key and what is above it.
type Signer struct {
	Cert   *x509.Certificate
	Key    *ecdsa.PrivateKey
	Issuer *Signer // nil for a root
}

// Chain returns the DER certificates from this one up to its root.
func (s *Signer) Chain() [][]byte {
	var out [][]byte
	for ; s != nil; s = s.Issuer {
		out = append(out, s.Cert.Raw)
	}
	return out
}

// PKI is a vendor: two roots and the authorities beneath them. All of it follows
// from the seed, so that two processes with one seed have the same roots.
type PKI struct {
	seed       []byte
	DeviceRoot *Signer
	RIMRoot    *Signer
	// RIMAuthority and RIMIssuer stand between RIMRoot and the signers of RIMs.
	RIMAuthority, RIMIssuer *Signer

	provisioners map[string]*Signer // by chip
}

// New returns the PKI of a seed of at least 16 bytes; nil means a random one.
func New(seed []byte) (*PKI, error) {
	if seed == nil {
		seed = make([]byte, 32)
		rand.Read(seed)
	}
	if len(seed) < 16 {
		return nil, fmt.Errorf("test PKI: seed of %d bytes, want at least 16", len(seed))
	}
	p := &PKI{seed: seed, provisioners: map[string]*Signer{}}
	var err error
	issue := func(name string, issuer *Signer) (s *Signer) {
		if err == nil {
			s, err = p.Issue(CA(name), issuer)
		}
		return s
	}
	p.DeviceRoot = issue("Test Device Identity CA", nil)
	p.RIMRoot = issue("Test RIM signing Root CA", nil)
	p.RIMAuthority = issue("Test Reference Value CA", p.RIMRoot)
	p.RIMIssuer = issue("Test Reference Value L3", p.RIMAuthority)
	for _, chip := range []string{"GH100", "GB100", "LS_10"} {
		product := issue("Test "+chip+" Identity", p.DeviceRoot)
		p.provisioners[chip] = issue("Test "+chip+" Provisioner ICA", product)
	}
	if err != nil {
		return nil, fmt.Errorf("test PKI: %w", err)
	}
	return p, nil
}

// Config returns what a verifier needs to know the roots.
func (p *PKI) Config() nvidia.Config {
	return nvidia.Config{
		DeviceRoots: []*x509.Certificate{p.DeviceRoot.Cert},
		RIMRoots:    []*x509.Certificate{p.RIMRoot.Cert},
	}
}

// Trust names the roots in a policy.
func (p *PKI) Trust(policy nvidia.Policy) nvidia.Policy {
	policy.DeviceRoots = []string{fingerprint(p.DeviceRoot.Cert)}
	policy.RIMRoots = []string{fingerprint(p.RIMRoot.Cert)}
	return policy
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Key derives the P-384 key of a name from the seed.
func (p *PKI) Key(name string) (*ecdsa.PrivateKey, error) {
	raw, err := hkdf.Key(sha512.New384, p.seed, nil, "casemate nvidiatest key "+name, 48)
	if err != nil {
		return nil, fmt.Errorf("derive key %q: %w", name, err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), raw)
	if err != nil {
		return nil, fmt.Errorf("derive key %q: %w", name, err)
	}
	return key, nil
}

// CA is the template of an authority.
func CA(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Casemate test"}},
		NotBefore:             Epoch,
		NotAfter:              Forever,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
}

// Leaf is the template of a certificate that signs messages.
func Leaf(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"Casemate test"}},
		NotBefore: Epoch,
		NotAfter:  Forever,
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

// Issue makes a certificate; a nil issuer makes a root. Key and, unless the
// template has one, serial number follow from the seed and the subject.
func (p *PKI) Issue(template *x509.Certificate, issuer *Signer) (*Signer, error) {
	name := template.Subject.String()
	key, err := p.Key(name)
	if err != nil {
		return nil, err
	}
	t := *template
	if t.SerialNumber == nil {
		sum := sha256.Sum256(append([]byte(name), p.seed...))
		t.SerialNumber = new(big.Int).SetBytes(sum[:16])
	}
	t.SignatureAlgorithm = x509.ECDSAWithSHA384
	parent, signer := &t, key
	if issuer != nil {
		parent, signer = issuer.Cert, issuer.Key
	}
	// Without a source of randomness the signature is RFC 6979's.
	der, err := x509.CreateCertificate(nil, &t, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate of %q: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate of %q: %w", name, err)
	}
	return &Signer{Cert: cert, Key: key, Issuer: issuer}, nil
}
