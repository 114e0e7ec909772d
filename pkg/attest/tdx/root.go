package tdx

import (
	"bytes"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
)

// The Intel SGX Root CA, the trust anchor of every TDX quote, as published at
// https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.pem
//
//go:embed trust/intel_sgx_root_ca.pem
var intelRootPEM []byte

// Intel's TCB signing certificate, issued by that root, valid until 2032-05-06;
// the PCS sends it with every TCB info in the header TCB-Info-Issuer-Chain. It is
// no trust anchor: it is checked against root, time and root CRL like one that
// was handed in.
//
//go:embed trust/intel_sgx_tcb_signing.pem
var intelTCBSigningPEM []byte

// IntelRoot returns the Intel SGX Root CA certificate.
func IntelRoot() *x509.Certificate {
	certs, err := parseCertificates(intelRootPEM, 1)
	if err != nil || len(certs) != 1 {
		panic(fmt.Sprintf("embedded Intel SGX Root CA is unusable: %v", err))
	}
	return certs[0]
}

// ParseRoot reads a root certificate from DER or PEM, for quotes that chain to
// another root than Intel's.
func ParseRoot(in []byte) (*x509.Certificate, error) {
	der, err := derOrPEM(in, pemCertificate)
	if err != nil {
		return nil, fmt.Errorf("read root certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read root certificate: %w", err)
	}
	return cert, checkRoot(cert)
}

func checkRoot(root *x509.Certificate) error {
	if !root.BasicConstraintsValid || !root.IsCA {
		return errors.New("the root certificate is not one of a CA")
	}
	if err := checkIssued(root, root); err != nil {
		return fmt.Errorf("the root certificate is not self-signed: %w", err)
	}
	return nil
}

// sameRoot tells whether a certificate is the trusted root, or another
// certificate of the same name and key that the root signed for itself: Intel
// has issued its root more than once.
func sameRoot(cert, trusted *x509.Certificate) error {
	if bytes.Equal(cert.Raw, trusted.Raw) {
		return nil
	}
	if !bytes.Equal(cert.RawSubject, trusted.RawSubject) ||
		!bytes.Equal(cert.RawSubjectPublicKeyInfo, trusted.RawSubjectPublicKeyInfo) {
		return fmt.Errorf("the chain ends in %q with another key than the trusted root %q",
			cert.Subject.CommonName, trusted.Subject.CommonName)
	}
	return checkIssued(cert, trusted)
}

// checkIssued checks that parent issued child: names, the parent's right to
// issue, signature by ECDSA P-256 with SHA-256, no critical extension unknown.
func checkIssued(child, parent *x509.Certificate) error {
	name := child.Subject.CommonName
	if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
		return fmt.Errorf("%q was issued by %q, not by %q", name, child.Issuer.CommonName, parent.Subject.CommonName)
	}
	if _, err := certificateKey(child); err != nil {
		return err
	}
	if child.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return fmt.Errorf("%q is signed with %v, expected ECDSA with SHA-256", name, child.SignatureAlgorithm)
	}
	if len(child.UnhandledCriticalExtensions) != 0 {
		return fmt.Errorf("%q has the unknown critical extension %v", name, child.UnhandledCriticalExtensions[0])
	}
	if err := child.CheckSignatureFrom(parent); err != nil {
		return fmt.Errorf("signature of %q by %q: %w", name, parent.Subject.CommonName, err)
	}
	return nil
}
