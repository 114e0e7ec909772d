package tdx

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// Phrases in the subjects of Intel's hierarchy, from the PCK certificate profile.
const (
	cnPCK       = "SGX PCK Certificate"
	cnPlatform  = "SGX PCK Platform CA"
	cnProcessor = "SGX PCK Processor CA"
	cnSigning   = "SGX TCB Signing"
)

// pckChain is the chain of a platform's provisioning certification key.
type pckChain struct {
	leaf, ca, root *x509.Certificate
	key            *ecdsa.PublicKey
	ext            PCKExtensions
	claims         []namedClaim
	window         window
}

// parsePCKChain reads leaf, intermediate and root, without judging who signed
// them.
func parsePCKChain(text []byte) (*pckChain, error) {
	certs, err := parseCertificates(text, 3)
	if err != nil {
		return nil, fmt.Errorf("read PCK chain: %w", err)
	}
	if len(certs) != 3 {
		return nil, fmt.Errorf("the PCK chain has %d certificates, expected PCK, intermediate and root", len(certs))
	}
	c := &pckChain{leaf: certs[0], ca: certs[1], root: certs[2]}
	if c.key, err = certificateKey(c.leaf); err != nil {
		return nil, err
	}
	if c.ext, err = ParsePCKExtensions(c.leaf); err != nil {
		return nil, err
	}
	c.claims = c.platformClaims()
	c.window = certificateWindow(c.leaf).narrow(certificateWindow(c.ca)).narrow(certificateWindow(c.root))
	return c, nil
}

// verify checks the chain up to the trusted root; validity in time is not its
// concern.
func (c *pckChain) verify(trusted *x509.Certificate) error {
	if err := sameRoot(c.root, trusted); err != nil {
		return err
	}
	if err := checkPCKCA(c.ca, trusted); err != nil {
		return err
	}
	if name := c.leaf.Subject.CommonName; !strings.Contains(name, cnPCK) {
		return fmt.Errorf("the chain's first certificate is of %q, expected %q", name, cnPCK)
	}
	if err := checkEnd(c.leaf); err != nil {
		return err
	}
	return checkIssued(c.leaf, c.ca)
}

// checkPCKCA checks an intermediate: one of Intel's two PCK CAs, issued by the
// root, allowed to sign certificates and revocation lists.
func checkPCKCA(ca, root *x509.Certificate) error {
	name := ca.Subject.CommonName
	if !strings.Contains(name, cnPlatform) && !strings.Contains(name, cnProcessor) {
		return fmt.Errorf("the intermediate is %q, expected %q or %q", name, cnPlatform, cnProcessor)
	}
	const need = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if !ca.BasicConstraintsValid || !ca.IsCA || ca.KeyUsage&need != need {
		return fmt.Errorf("%q may not sign certificates and revocation lists", name)
	}
	return checkIssued(ca, root)
}

// checkEnd checks that a certificate may sign data and not certificates.
func checkEnd(cert *x509.Certificate) error {
	if cert.IsCA || cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("%q may not sign data", cert.Subject.CommonName)
	}
	return nil
}

// signer is a TCB signing certificate that was checked up to the root.
type signer struct {
	cert   *x509.Certificate
	key    *ecdsa.PublicKey
	window window
}

// verifySigner reads a TCB signing certificate with its root, as the PCS sends
// them, or the signing certificate alone.
func verifySigner(text []byte, trusted *x509.Certificate) (*signer, error) {
	cert, w, err := issuedByRoot(text, trusted)
	if err != nil {
		return nil, fmt.Errorf("TCB signing chain: %w", err)
	}
	if name := cert.Subject.CommonName; !strings.Contains(name, cnSigning) {
		return nil, fmt.Errorf("TCB signing chain: its first certificate is of %q, expected %q", name, cnSigning)
	}
	if err := checkEnd(cert); err != nil {
		return nil, fmt.Errorf("TCB signing chain: %w", err)
	}
	if err := checkIssued(cert, trusted); err != nil {
		return nil, fmt.Errorf("TCB signing chain: %w", err)
	}
	key, err := certificateKey(cert)
	if err != nil {
		return nil, fmt.Errorf("TCB signing chain: %w", err)
	}
	return &signer{cert: cert, key: key, window: w}, nil
}

// verifyCRLIssuer reads a PCK CA with its root, as the PCS sends them with a PCK
// CRL.
func verifyCRLIssuer(text []byte, trusted *x509.Certificate) (*signer, error) {
	cert, w, err := issuedByRoot(text, trusted)
	if err != nil {
		return nil, fmt.Errorf("PCK CRL chain: %w", err)
	}
	if err := checkPCKCA(cert, trusted); err != nil {
		return nil, fmt.Errorf("PCK CRL chain: %w", err)
	}
	return &signer{cert: cert, window: w}, nil
}

// issuedByRoot reads one certificate and, if it follows, the root.
func issuedByRoot(text []byte, trusted *x509.Certificate) (*x509.Certificate, window, error) {
	certs, err := parseCertificates(text, 2)
	if err != nil {
		return nil, window{}, err
	}
	if len(certs) == 0 {
		return nil, window{}, errors.New("it holds no certificate")
	}
	w := certificateWindow(certs[0]).narrow(certificateWindow(trusted))
	if len(certs) == 2 {
		w = w.narrow(certificateWindow(certs[1]))
		if err := sameRoot(certs[1], trusted); err != nil {
			return nil, window{}, err
		}
	}
	return certs[0], w, nil
}
