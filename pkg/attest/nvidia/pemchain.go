package nvidia

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	maxChainPEM    = 32 << 10
	maxCertSize    = 4 << 10
	maxChainLength = 8
)

// ParseChainPEM returns the DER of the certificates in a PEM text, in its order.
// Only the canonical form is accepted: CERTIFICATE blocks of 64 columns directly
// one after the other, with or without a newline at the end.
func ParseChainPEM(text []byte) ([][]byte, error) {
	if len(text) > maxChainPEM {
		return nil, fmt.Errorf("certificate chain of %d bytes is larger than %d", len(text), maxChainPEM)
	}
	var certs [][]byte
	var again bytes.Buffer
	for rest := text; len(rest) > 0; {
		block, after := pem.Decode(rest)
		if block == nil {
			return nil, errors.New("certificate chain holds something that is not a PEM block")
		}
		rest = after
		if err := pem.Encode(&again, &pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}); err != nil {
			return nil, fmt.Errorf("encode certificate %d again: %w", len(certs), err)
		}
		certs = append(certs, block.Bytes)
	}
	if len(certs) == 0 {
		return nil, errors.New("certificate chain is empty")
	}
	if want := again.Bytes(); !bytes.Equal(text, want) && !bytes.Equal(text, want[:len(want)-1]) {
		return nil, errors.New("certificate chain is not in canonical PEM: CERTIFICATE blocks of 64 columns and nothing between them")
	}
	return certs, nil
}

// parseChain parses a chain of at most a few certificates, leaf first.
func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) > maxChainLength {
		return nil, fmt.Errorf("chain has %d certificates, more than %d", len(chain), maxChainLength)
	}
	out := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		var err error
		if out[i], err = parseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
	}
	return out, nil
}

// parseCertificate parses one certificate that fills der.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	if len(der) > maxCertSize {
		return nil, fmt.Errorf("%d bytes are more than %d", len(der), maxCertSize)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	return cert, nil
}
