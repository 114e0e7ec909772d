package nvidia

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// window is the time in which everything in a chain is valid, both ends included.
type window struct{ from, to time.Time }

func (w window) holds(t time.Time) bool { return !t.Before(w.from) && !t.After(w.to) }

// narrow cuts the window to what it shares with another.
func (w window) narrow(from, to time.Time) window {
	if from.After(w.from) {
		w.from = from
	}
	if to.Before(w.to) {
		w.to = to
	}
	return w
}

// validity is the window in which all of the certificates are valid; it is empty
// (from after to) if there is none.
func validity(certs []*x509.Certificate) window {
	w := window{from: certs[0].NotBefore, to: certs[0].NotAfter}
	for _, c := range certs[1:] {
		w = w.narrow(c.NotBefore, c.NotAfter)
	}
	return w
}

// verifyChain checks signatures, names, keys and purposes of a chain of exactly n
// certificates, leaf first, that ends in one of the roots. It does not look at
// the time: [validity] does. NVIDIA's chains are ECDSA P-384 with SHA-384 all
// through, and nothing else is accepted.
func verifyChain(certs []*x509.Certificate, n int, roots []*x509.Certificate) error {
	if len(certs) != n {
		return fmt.Errorf("chain has %d certificates, want %d", len(certs), n)
	}
	if !contains(roots, certs[n-1]) {
		return fmt.Errorf("chain ends in %q (sha256 %x), which is no trusted root", certs[n-1].Subject, digestOf(certs[n-1].Raw))
	}
	for i, c := range certs {
		if err := checkCertificate(c); err != nil {
			return fmt.Errorf("certificate %d (%s): %w", i, c.Subject.CommonName, err)
		}
		if i+1 == n {
			continue
		}
		if err := checkIssuer(c, certs[i+1], i); err != nil {
			return fmt.Errorf("certificate %d (%s): %w", i, c.Subject.CommonName, err)
		}
	}
	return checkLeaf(certs[0])
}

func contains(roots []*x509.Certificate, cert *x509.Certificate) bool {
	for _, r := range roots {
		if bytes.Equal(r.Raw, cert.Raw) {
			return true
		}
	}
	return false
}

func checkCertificate(c *x509.Certificate) error {
	if _, err := p384(c); err != nil {
		return err
	}
	if c.SignatureAlgorithm != x509.ECDSAWithSHA384 {
		return fmt.Errorf("signed with %s, want ECDSA with SHA-384", c.SignatureAlgorithm)
	}
	if len(c.UnhandledCriticalExtensions) != 0 {
		return fmt.Errorf("critical extension %s is not understood", c.UnhandledCriticalExtensions[0])
	}
	return nil
}

// checkIssuer checks that issuer, which has below certificates between it and
// the leaf, may have signed c, and did.
func checkIssuer(c, issuer *x509.Certificate, below int) error {
	switch {
	case !bytes.Equal(c.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("issued by %q, but followed by %q", c.Issuer, issuer.Subject)
	case len(c.AuthorityKeyId) != 0 && !bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId):
		return errors.New("names another issuer key than the next certificate has")
	case issuer.MaxPathLenZero && below > 0, issuer.MaxPathLen > 0 && below > issuer.MaxPathLen:
		return errors.New("is further below its issuer than the path length allows")
	}
	if err := c.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("signature of the issuer: %w", err)
	}
	return nil
}

// checkLeaf checks that the leaf signs messages and does nothing else: an OCSP
// responder beneath the same root must not pass for a device or a RIM signer.
func checkLeaf(leaf *x509.Certificate) error {
	switch {
	case leaf.IsCA:
		return errors.New("the leaf is an authority")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("the leaf may not make signatures")
	case len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) != 0:
		return errors.New("the leaf is for a special purpose (extended key usage)")
	}
	return nil
}

func p384(c *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, errors.New("the key is not on P-384")
	}
	return key, nil
}

// chainDigest names a chain together with the certificates in it and their bounds.
func chainDigest(chain [][]byte) (digest, error) {
	if len(chain) > maxChainLength {
		return digest{}, fmt.Errorf("chain has %d certificates, more than %d", len(chain), maxChainLength)
	}
	h := sha256.New()
	var size [4]byte
	for i, der := range chain {
		if len(der) > maxCertSize {
			return digest{}, fmt.Errorf("certificate %d: %d bytes are more than %d", i, len(der), maxCertSize)
		}
		binary.BigEndian.PutUint32(size[:], uint32(len(der)))
		h.Write(size[:])
		h.Write(der)
	}
	return digest(h.Sum(nil)), nil
}
