package sevsnp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
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
	// rootSHA256 is the hex SHA-256 of the root's certificate: names can be taken.
	rootSHA256 string
	crl        *crlFacts
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
	// revoked is what is known of a chain that a list names, with that list, so that
	// what was verified without it can be forgotten.
	revoked *facts
}

func (r *refusal) Error() string { return r.check + ": " + r.err.Error() }

func refuse(check string, err error) *refusal { return &refusal{check: check, err: err} }

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
	sum := sha256.Sum256(root.Certificate.Raw)
	f.rootSHA256 = hex.EncodeToString(sum[:])
	for _, c := range []*x509.Certificate{leaf, mid, root.Certificate} {
		f.windows = append(f.windows, window{"certificate " + c.Subject.CommonName, c.NotBefore, c.NotAfter})
	}
	if len(ev.CRL) == 0 {
		return f, nil
	}
	crl, err := parseCRL(ev.CRL, root.Certificate)
	if err != nil {
		return nil, refuse(CheckRevocation, err)
	}
	f.crl = &crlFacts{window{"revocation list", crl.ThisUpdate, crl.NextUpdate}}
	if err := checkRevoked(crl, mid, root.Certificate); err != nil {
		return nil, &refusal{CheckRevocation, err, f}
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
