package sevsnptest

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// Marshal returns the signer's keys and certificates as PEM. It holds private keys,
// of a root that nobody should trust.
func (s *Signer) Marshal() ([]byte, error) {
	var out []byte
	for _, key := range []any{s.ark.key, s.ask.key, s.asvk.key, s.vek} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("write simulated key: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	return append(out, encodeCerts(s.ark.cert, s.ask.cert, s.asvk.cert)...), nil
}

// ParseSigner reads what Marshal wrote.
func ParseSigner(b []byte) (*Signer, error) {
	s := new(Signer)
	for _, a := range []*authority{&s.ark, &s.ask, &s.asvk} {
		key, rest, err := nextKey(b)
		if err != nil {
			return nil, err
		}
		rsaKey, ok := key.(*rsa.PrivateKey)
		if !ok {
			return nil, errors.New("read simulated signer: key is not RSA")
		}
		a.key, b = rsaKey, rest
	}
	key, rest, err := nextKey(b)
	if err != nil {
		return nil, err
	}
	vek, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("read simulated signer: chip key is not ECDSA")
	}
	s.vek = vek
	roots, err := sevsnp.ParseRoots(rest)
	if err != nil || len(roots) != 1 || len(roots[0].Intermediates) != 2 {
		return nil, fmt.Errorf("read simulated signer: want a root and two intermediates: %w", err)
	}
	return s, s.adopt(roots[0])
}

func (s *Signer) adopt(root sevsnp.Root) error {
	s.ark.cert, s.ask.cert, s.asvk.cert = root.Certificate, root.Intermediates[0], root.Intermediates[1]
	for _, a := range []authority{s.ark, s.ask, s.asvk} {
		if !a.key.PublicKey.Equal(a.cert.PublicKey) {
			return fmt.Errorf("read simulated signer: key of %s is not its certificate's", a.cert.Subject.CommonName)
		}
	}
	s.from = s.ark.cert.NotBefore
	for _, p := range []sevsnp.Product{sevsnp.Milan, sevsnp.Genoa, sevsnp.Turin} {
		if s.ark.cert.Subject.CommonName == "ARK-"+p.String() {
			s.product = p
		}
	}
	return nil
}

func nextKey(b []byte) (any, []byte, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, nil, errors.New("read simulated signer: no private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("read simulated signer: %w", err)
	}
	return key, rest, nil
}
