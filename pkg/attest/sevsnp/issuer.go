package sevsnp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
)

// findIssuer finds the intermediate that issued the leaf, among the chain's or else
// the roots' own, and the root that issued it. Every certificate of a given chain
// must be a trusted root or issued by one, or be the leaf over again.
func findIssuer(roots []Root, leaf *x509.Certificate, chain []byte) (*Root, *x509.Certificate, *refusal) {
	if len(chain) == 0 {
		return issuerAmong(roots, leaf, func(r *Root) []*x509.Certificate { return r.Intermediates })
	}
	certs, err := parseCertificates(chain)
	if err != nil {
		return nil, nil, refuse(CheckCertificateFormat, fmt.Errorf("chain: %w", err))
	}
	var mids []*x509.Certificate
	for _, c := range certs {
		if c.Equal(leaf) {
			continue // some bundles begin with the leaf itself
		}
		if selfIssued(c) {
			if indexRoot(roots, c) < 0 {
				return nil, nil, refuse(CheckSignatureChain, fmt.Errorf("the chain's root %s is not a trusted one", c.Subject.CommonName))
			}
			continue
		}
		mids = append(mids, c)
	}
	if err := checkMids(roots, mids); err != nil {
		return nil, nil, refuse(CheckSignatureChain, err)
	}
	if len(mids) == 0 {
		return issuerAmong(roots, leaf, func(r *Root) []*x509.Certificate { return r.Intermediates })
	}
	return issuerAmong(roots, leaf, func(r *Root) []*x509.Certificate {
		var own []*x509.Certificate
		for _, m := range mids {
			if r.issued(m) == nil {
				own = append(own, m)
			}
		}
		return own
	})
}

func checkMids(roots []Root, mids []*x509.Certificate) error {
	for _, m := range mids {
		err := errors.New("no trusted root")
		for i := range roots {
			if err = roots[i].issued(m); err == nil {
				break
			}
			if bytes.Equal(m.RawIssuer, roots[i].Certificate.RawSubject) {
				return fmt.Errorf("chain: %w", err)
			}
		}
		if err != nil {
			return fmt.Errorf("chain: %s is issued by no trusted root: %w", m.Subject.CommonName, err)
		}
	}
	return nil
}

// issuerAmong finds the root and intermediate that issued the leaf.
func issuerAmong(roots []Root, leaf *x509.Certificate, mids func(*Root) []*x509.Certificate) (*Root, *x509.Certificate, *refusal) {
	err := fmt.Errorf("no trusted certificate is named %q, as the issuer of %s", leaf.Issuer.CommonName, leaf.Subject.CommonName)
	for i := range roots {
		for _, m := range mids(&roots[i]) {
			if !bytes.Equal(m.RawSubject, leaf.RawIssuer) {
				continue
			}
			if err = checkIssued(leaf, m); err == nil {
				return &roots[i], m, nil
			}
		}
	}
	return nil, nil, refuse(CheckSignatureChain, err)
}

// checkNames compares the names that AMD gives its keys with the product and the
// kind of key: SEV-<product> issues VCEKs, SEV-VLEK-<product> VLEKs (KDS table 7).
func checkNames(root *Root, mid *x509.Certificate, kind KeyKind, p Product) error {
	rootProduct, err := root.product()
	if err != nil {
		return err
	}
	if rootProduct != p {
		return fmt.Errorf("a %v certificate under the root of %v", p, rootProduct)
	}
	want := "SEV-" + p.String()
	if kind == VLEK {
		want = "SEV-VLEK-" + p.String()
	}
	if mid.Subject.CommonName != want {
		return fmt.Errorf("%v is issued by %q, want %q", kind, mid.Subject.CommonName, want)
	}
	return nil
}
