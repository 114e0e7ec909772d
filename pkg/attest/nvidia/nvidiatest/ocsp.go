package nvidiatest

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"
)

// OCSPSpec says what a responder says of one certificate.
type OCSPSpec struct {
	// Subject is the certificate spoken of. Its Issuer answers, through a responder.
	Subject *Signer
	// Status is ocsp.Good, ocsp.Revoked or ocsp.Unknown; Reason is that of a
	// revocation, ocsp.CertificateHold for a hold.
	Status, Reason int
	// ThisUpdate and NextUpdate bound the answer's time.
	ThisUpdate, NextUpdate time.Time
	// Responder signs; nil makes one that the issuer delegates to.
	Responder *Signer
	// EditResponder changes the template of that one.
	EditResponder func(*x509.Certificate)
	// Extensions are of the statement.
	Extensions []pkix.Extension
	// BySelf lets the issuer sign without a responder.
	BySelf bool
}

// OCSP makes a response in DER.
func (p *PKI) OCSP(spec OCSPSpec) ([]byte, error) {
	issuer := spec.Subject.Issuer
	if issuer == nil {
		return nil, fmt.Errorf("test OCSP response: nobody answers for a root")
	}
	responder := spec.Responder
	switch {
	case spec.BySelf:
		responder = issuer
	case responder == nil:
		template := Leaf("Test OCSP responder of " + issuer.Cert.Subject.CommonName)
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
		if spec.EditResponder != nil {
			spec.EditResponder(template)
		}
		var err error
		if responder, err = p.Issue(template, issuer); err != nil {
			return nil, fmt.Errorf("test OCSP response: %w", err)
		}
	}
	t := ocsp.Response{
		Status: spec.Status, SerialNumber: spec.Subject.Cert.SerialNumber, IssuerHash: crypto.SHA384,
		ThisUpdate: spec.ThisUpdate, NextUpdate: spec.NextUpdate, Certificate: responder.Cert,
		ExtraExtensions: spec.Extensions,
	}
	if spec.BySelf {
		t.Certificate = nil
	}
	if spec.Status == ocsp.Revoked {
		t.RevokedAt, t.RevocationReason = spec.ThisUpdate, spec.Reason
	}
	der, err := ocsp.CreateResponse(issuer.Cert, responder.Cert, t, responder.Key)
	if err != nil {
		return nil, fmt.Errorf("test OCSP response: %w", err)
	}
	return der, nil
}

// AllGood returns good responses for a signer and all above it but the root.
func (p *PKI) AllGood(s *Signer, from, to time.Time) ([][]byte, error) {
	var out [][]byte
	for ; s.Issuer != nil; s = s.Issuer {
		der, err := p.OCSP(OCSPSpec{Subject: s, Status: ocsp.Good, ThisUpdate: from, NextUpdate: to})
		if err != nil {
			return nil, err
		}
		out = append(out, der)
	}
	return out, nil
}
