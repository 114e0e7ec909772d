package nvidia

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha1"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// verifyOCSP checks who signed a response about certificates of issuer: the
// issuer itself, or a responder that the issuer certified for that (RFC 6960,
// 4.2.2.2). It returns the time in which the signer's certificate is valid.
func verifyOCSP(b *ocspBasic, issuer *x509.Certificate) (window, error) {
	signer := issuer
	if len(b.Certificates) == 1 {
		responder, err := parseCertificate(b.Certificates[0].FullBytes)
		if err != nil {
			return window{}, fmt.Errorf("responder's certificate: %w", err)
		}
		if err := checkResponder(responder, issuer); err != nil {
			return window{}, fmt.Errorf("responder %q: %w", responder.Subject.CommonName, err)
		}
		signer = responder
	}
	if err := checkResponderID(b.Data.Responder, signer); err != nil {
		return window{}, err
	}
	key, err := p384(signer)
	if err != nil {
		return window{}, err
	}
	sum := sha512.Sum384(b.Data.Raw)
	if !ecdsa.VerifyASN1(key, sum[:], b.Signature.Bytes) {
		return window{}, errors.New("the response's signature does not verify with the responder's key")
	}
	return window{from: signer.NotBefore, to: signer.NotAfter}, nil
}

// checkResponder checks the delegation: certified by the very issuer whose
// certificates the response is about, and for this purpose.
func checkResponder(responder, issuer *x509.Certificate) error {
	if bytes.Equal(responder.Raw, issuer.Raw) {
		return nil
	}
	if err := checkCertificate(responder); err != nil {
		return err
	}
	if err := checkIssuer(responder, issuer, 0); err != nil {
		return err
	}
	if responder.IsCA || responder.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("the certificate is not one for signing responses")
	}
	if slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
		return nil
	}
	return errors.New("the issuer did not delegate OCSP signing to it")
}

// checkResponderID compares the signed name of the responder, a subject [1] or a
// SHA-1 of its key [2], with the certificate that was used.
func checkResponderID(id asn1.RawValue, signer *x509.Certificate) error {
	var want []byte
	switch {
	case id.Class != asn1.ClassContextSpecific || !id.IsCompound:
	case id.Tag == 1:
		want = signer.RawSubject
	case id.Tag == 2:
		key, err := subjectKey(signer)
		if err != nil {
			return fmt.Errorf("responder: %w", err)
		}
		sum := sha1.Sum(key)
		want = append([]byte{asn1.TagOctetString, sha1.Size}, sum[:]...)
	}
	if want == nil || !bytes.Equal(id.Bytes, want) {
		return errors.New("the response names another responder than the one that signed it")
	}
	return nil
}
