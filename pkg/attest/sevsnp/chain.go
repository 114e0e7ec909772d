package sevsnp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// facts are what is known, at any time, of a verified chain. What depends on time,
// the windows, is compared at every use, so that a cached chain never outlives its
// certificates.
type facts struct {
	key       *ecdsa.PublicKey
	ek        *endorsement
	windows   []window
	simulated bool
	rootName  string
	crl       *crlFacts
}

// crlFacts is what is kept of a revocation list.
type crlFacts struct{ window }

// window is a span of validity, ends included.
type window struct {
	name     string
	from, to time.Time
}

func (w window) check(at time.Time) error {
	if at.Before(w.from) {
		return fmt.Errorf("%s is valid only from %s, judged at %s", w.name, stamp(w.from), stamp(at))
	}
	if at.After(w.to) {
		return fmt.Errorf("%s ended on %s, judged at %s", w.name, stamp(w.to), stamp(at))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// expired tells whether no later time than at can find the chain valid.
func (f *facts) expired(at time.Time) bool {
	for _, w := range f.windows {
		if at.After(w.to) {
			return true
		}
	}
	return f.crl != nil && at.After(f.crl.to)
}

// refusal is a failed check with its stable name.
type refusal struct {
	check string
	err   error
}

func (r *refusal) Error() string { return r.check + ": " + r.err.Error() }

func refuse(check string, err error) *refusal { return &refusal{check, err} }

// verifyChain verifies a VCEK or VLEK up to one of the roots, and the revocation
// list if there is one. It says nothing about time.
func verifyChain(roots []Root, kind KeyKind, ev *Evidence) (*facts, *refusal) {
	leaf, err := parseCertificate(ev.VEK)
	if err != nil {
		return nil, refuse(CheckCertificateFormat, fmt.Errorf("%v certificate: %w", kind, err))
	}
	ek, err := parseEndorsement(leaf, kind)
	if err != nil {
		return nil, refuse(CheckCertificateFormat, fmt.Errorf("%v certificate: %w", kind, err))
	}
	key, err := leafKey(leaf, kind)
	if err != nil {
		return nil, refuse(CheckCertificateFormat, err)
	}
	root, mid, ref := findIssuer(roots, leaf, ev.Chain)
	if ref != nil {
		return nil, ref
	}
	if err := checkNames(root, mid, kind, ek.product); err != nil {
		return nil, refuse(CheckSignatureChain, err)
	}
	f := &facts{key: key, ek: ek, simulated: root.Simulated, rootName: root.Certificate.Subject.CommonName}
	for _, c := range []*x509.Certificate{leaf, mid, root.Certificate} {
		f.windows = append(f.windows, window{"certificate " + c.Subject.CommonName, c.NotBefore, c.NotAfter})
	}
	if len(ev.CRL) > 0 {
		if f.crl, err = readCRL(ev.CRL, root.Certificate, mid); err != nil {
			return nil, refuse(CheckRevocation, err)
		}
	}
	return f, nil
}

func leafKey(leaf *x509.Certificate, kind KeyKind) (*ecdsa.PublicKey, error) {
	if want := "SEV-" + kind.String(); leaf.Subject.CommonName != want {
		return nil, fmt.Errorf("certificate is named %q, want %q", leaf.Subject.CommonName, want)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, fmt.Errorf("%v certificate has no P-384 key", kind)
	}
	return key, nil
}

// findIssuer finds the intermediate that issued the leaf, among the chain's or else
// the roots' own, and the root that issued it. Every certificate of a given chain
// must be a trusted root or issued by one.
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

func readCRL(b []byte, root, mid *x509.Certificate) (*crlFacts, error) {
	crl, err := parseCRL(b, root)
	if err != nil {
		return nil, err
	}
	if err := checkRevoked(crl, mid, root); err != nil {
		return nil, err
	}
	return &crlFacts{window{"revocation list", crl.ThisUpdate, crl.NextUpdate}}, nil
}
