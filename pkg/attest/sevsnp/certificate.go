package sevsnp

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxCertificate bounds one certificate in bytes; AMD's have under 2 KiB.
const maxCertificate = 16 << 10

// maxCertificates bounds how many certificates a chain or a root file may hold.
const maxCertificates = 16

// parseCertificates reads certificates, concatenated DER or PEM. PEM that holds
// anything but certificates and white space is refused.
func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	ders, err := splitBlocks(b, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, der := range ders {
		certs, err := x509.ParseCertificates(der)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		out = append(out, certs...)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate")
	}
	if len(out) > maxCertificates {
		return nil, fmt.Errorf("%d certificates, want at most %d", len(out), maxCertificates)
	}
	return out, nil
}

// parseCertificate reads exactly one certificate.
func parseCertificate(b []byte) (*x509.Certificate, error) {
	certs, err := parseCertificates(b)
	if err != nil {
		return nil, err
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("%d certificates, want one", len(certs))
	}
	return certs[0], nil
}

// splitBlocks returns the DER in PEM blocks of one type, or b itself if it is DER.
func splitBlocks(b []byte, blockType string) ([][]byte, error) {
	if len(b) > maxCertificate*maxCertificates {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(b), maxCertificate*maxCertificates)
	}
	begin := []byte("-----BEGIN ")
	rest := bytes.TrimSpace(b)
	if !bytes.HasPrefix(rest, begin) {
		return [][]byte{b}, nil
	}
	var out [][]byte
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, begin) {
			return nil, errors.New("text beside the PEM blocks")
		}
		block, after := pem.Decode(rest)
		if block == nil || block.Type != blockType || len(block.Headers) != 0 {
			return nil, fmt.Errorf("not a PEM block of type %s without headers", blockType)
		}
		// pem.Decode skips what it can't read, and bits that base64 leaves unused.
		if !bytes.Equal(withoutSpace(rest[:len(rest)-len(after)]), withoutSpace(pem.EncodeToMemory(block))) {
			return nil, errors.New("a PEM block that isn't canonical")
		}
		out = append(out, block.Bytes)
		rest = bytes.TrimSpace(after)
	}
	return out, nil
}

func withoutSpace(b []byte) []byte { return bytes.Join(bytes.Fields(b), nil) }
