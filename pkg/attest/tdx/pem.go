package tdx

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const pemCertificate, pemCRL = "CERTIFICATE", "X509 CRL"

// parseCertificates reads certificates from PEM text and nothing else: no text
// around them, no headers, no encoding other than the canonical one, apart from
// CRLF line ends, a missing last line end and NUL bytes behind it. Intel's
// quoting library ends the chain of a quote with a NUL.
func parseCertificates(text []byte, most int) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	rest := normalizePEM(text)
	for len(rest) > 0 {
		if len(certs) == most {
			return nil, fmt.Errorf("more than %d certificates", most)
		}
		der, after, err := decodePEM(rest, pemCertificate)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
		rest = after
	}
	return certs, nil
}

// derOrPEM returns DER bytes as they are and the DER inside one canonical PEM
// block of the given type.
func derOrPEM(in []byte, blockType string) ([]byte, error) {
	if len(in) > 0 && in[0] == 0x30 { // DER: a SEQUENCE
		return in, nil
	}
	der, rest, err := decodePEM(normalizePEM(in), blockType)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, errors.New("bytes after the PEM block")
	}
	return der, nil
}

func normalizePEM(text []byte) []byte {
	text = bytes.TrimRight(text, "\x00")
	if bytes.IndexByte(text, '\r') >= 0 {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text[:n:n], '\n')
	}
	return text
}

func decodePEM(text []byte, blockType string) (der, rest []byte, err error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, nil, errors.New("not in PEM form")
	}
	if block.Type != blockType || len(block.Headers) != 0 {
		return nil, nil, fmt.Errorf("PEM block of type %q, expected a plain %q", block.Type, blockType)
	}
	if !bytes.Equal(pem.EncodeToMemory(block), text[:len(text)-len(rest)]) {
		return nil, nil, errors.New("PEM block is not in canonical form, or has text before it")
	}
	return block.Bytes, rest, nil
}
