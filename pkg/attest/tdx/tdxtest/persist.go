package tdxtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Marshal encodes the hierarchy with its keys as PEM: for each of root, PCK CA and
// TCB signing its key and its certificate.
func (p *PKI) Marshal() ([]byte, error) {
	var out []byte
	for _, a := range []*Authority{p.Root, p.PCKCA, p.TCBSigning} {
		der, err := x509.MarshalPKCS8PrivateKey(a.Key)
		if err != nil {
			return nil, fmt.Errorf("encode authorities: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
		out = append(out, ChainPEM(a.Cert)...)
	}
	return out, nil
}

// UnmarshalPKI reads what [PKI.Marshal] wrote.
func UnmarshalPKI(in []byte) (*PKI, error) {
	p := &PKI{}
	for _, dst := range []**Authority{&p.Root, &p.PCKCA, &p.TCBSigning} {
		a, rest, err := nextAuthority(in)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		*dst, in = a, rest
	}
	if len(bytes.TrimSpace(in)) > 0 {
		return nil, errors.New("read authorities: something follows the third")
	}
	p.NotBefore, p.NotAfter = p.Root.Cert.NotBefore, p.Root.Cert.NotAfter
	return p, nil
}

func nextAuthority(in []byte) (*Authority, []byte, error) {
	first, rest := pem.Decode(in)
	if first == nil || first.Type != "PRIVATE KEY" {
		return nil, nil, errors.New("expected a private key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(first.Bytes)
	if err != nil {
		return nil, nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	second, rest := pem.Decode(rest)
	if !ok || second == nil || second.Type != "CERTIFICATE" {
		return nil, nil, errors.New("expected an ECDSA key and its certificate")
	}
	cert, err := x509.ParseCertificate(second.Bytes)
	if err != nil {
		return nil, nil, err
	}
	if !ec.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("the key is not that of %q", cert.Subject.CommonName)
	}
	return &Authority{Cert: cert, Key: ec}, rest, nil
}
