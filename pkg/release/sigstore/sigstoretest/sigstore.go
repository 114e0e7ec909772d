package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// leafLife is how long a certificate of Sigstore's CA is valid.
const leafLife = 10 * time.Minute

// Sigstore is one instance, with its own keys.
type Sigstore struct {
	at               time.Time
	root, issuer     *x509.Certificate
	issuerKey        *ecdsa.PrivateKey
	log, certificate *ecdsa.PrivateKey // of the transparency logs
}

// New makes an instance whose certificates were issued at about the time at.
func New(at time.Time) (*Sigstore, error) {
	s := &Sigstore{at: at.UTC().Truncate(time.Second)}
	var rootKey *ecdsa.PrivateKey
	for _, key := range []**ecdsa.PrivateKey{&rootKey, &s.issuerKey, &s.log, &s.certificate} {
		made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		*key = made
	}
	var err error
	if s.root, err = s.authority("sigstore", nil, rootKey, rootKey); err != nil {
		return nil, err
	}
	s.issuer, err = s.authority("sigstore-intermediate", s.root, s.issuerKey, rootKey)
	return s, err
}

// authority makes a CA's certificate; without a parent it signs itself.
func (s *Sigstore) authority(name string, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"sigstore.test"}},
		NotBefore:    s.at.Add(-24 * time.Hour), NotAfter: s.at.Add(10 * 365 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent = t
	} else {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, by)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of %s: %w", name, err)
	}
	return x509.ParseCertificate(der)
}

// TrustedRoot is the trusted_root.json of the instance.
func (s *Sigstore) TrustedRoot() ([]byte, error) {
	log, err := logInstance("https://rekor.test", &s.log.PublicKey, s.at)
	if err != nil {
		return nil, err
	}
	certificates, err := logInstance("https://ctfe.test", &s.certificate.PublicKey, s.at)
	if err != nil {
		return nil, err
	}
	return encode(trustedRoot{
		MediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		TLogs:     []transparencyLog{log}, CTLogs: []transparencyLog{certificates},
		CertificateAuthorities: []authority{{
			Subject:   subject{"sigstore.test", "sigstore"},
			URI:       "https://fulcio.test",
			CertChain: chain{[]rawBytes{{s.issuer.Raw}, {s.root.Raw}}},
			ValidFor:  validFor(s.at),
		}},
	})
}

func logInstance(url string, key *ecdsa.PublicKey, at time.Time) (transparencyLog, error) {
	id, der, err := logID(key)
	return transparencyLog{
		BaseURL: url, HashAlgorithm: "SHA2_256", LogID: keyID{id},
		PublicKey: publicKey{RawBytes: der, KeyDetails: "PKIX_ECDSA_P256_SHA_256", ValidFor: validFor(at)},
	}, err
}

// logID is a log's id, the SHA-256 of its public key, and the key (RFC 6962, 3.2).
func logID(key *ecdsa.PublicKey) (id, der []byte, err error) {
	der, err = x509.MarshalPKIXPublicKey(key)
	sum := sha256.Sum256(der)
	return sum[:], der, err
}

func validFor(at time.Time) period { return period{at.Add(-24 * time.Hour).Format(time.RFC3339)} }

func signed(key *ecdsa.PrivateKey, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, key, sum[:])
}
