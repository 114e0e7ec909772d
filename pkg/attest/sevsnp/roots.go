package sevsnp

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/go-sev-guest/verify/trust"
)

// SimulatedMark says, as the serialNumber attribute of a root's subject, that the
// root endorses no hardware. See [Root].
const SimulatedMark = "SIMULATED"

// minRSABits is the smallest RSA key accepted in a chain. AMD's have 4096 bits.
const minRSABits = 2048

// Root is a trusted AMD root key (ARK) of one product line, with the intermediate
// certificates (ASK, ASVK) that are at hand when evidence brings none.
type Root struct {
	// Certificate is self-signed, its common name ARK-<product>.
	Certificate *x509.Certificate
	// Intermediates are signed by Certificate.
	Intermediates []*x509.Certificate
	// Simulated roots endorse no hardware: only a policy that allows simulated
	// evidence accepts theirs, and the verdict is marked. It is implied by
	// SimulatedMark in the subject.
	Simulated bool
}

// AMDRoots returns AMD's own roots for Milan, Genoa and Turin, each with its ASK and
// ASVK, as published by AMD's key distribution service.
func AMDRoots() []Root {
	return append([]Root(nil), amdRoots()...)
}

var amdRoots = sync.OnceValue(func() []Root {
	var bundle []byte
	for _, b := range [][]byte{
		trust.AskArkMilanVcekBytes, trust.AskArkMilanVlekBytes,
		trust.AskArkGenoaVcekBytes, trust.AskArkGenoaVlekBytes,
		trust.AskArkTurinVcekBytes, trust.AskArkTurinVlekBytes,
	} {
		bundle = append(append(bundle, bytes.TrimSpace(b)...), '\n')
	}
	roots, err := ParseRoots(bundle)
	if err != nil {
		panic("embedded AMD certificates: " + err.Error())
	}
	return roots
})

// ParseRoots reads roots from DER or PEM, at most 16 certificates: the self-signed
// ones become trusted roots, the others intermediates of the root that signed them.
// A certificate that fits nowhere is refused.
func ParseRoots(b []byte) ([]Root, error) {
	certs, err := parseCertificates(b)
	if err != nil {
		return nil, fmt.Errorf("read roots: %w", err)
	}
	var roots []Root
	for _, c := range certs {
		if selfIssued(c) && indexRoot(roots, c) < 0 {
			roots = append(roots, Root{Certificate: c})
		}
	}
	for _, c := range certs {
		if selfIssued(c) {
			continue
		}
		i := indexIssuer(roots, c)
		if i < 0 {
			return nil, fmt.Errorf("read roots: %s is issued by none of the self-signed certificates", c.Subject.CommonName)
		}
		roots[i].Intermediates = append(roots[i].Intermediates, c)
	}
	if len(roots) == 0 {
		return nil, errors.New("read roots: no self-signed certificate")
	}
	for i := range roots {
		if err := roots[i].check(); err != nil {
			return nil, fmt.Errorf("read roots: %w", err)
		}
	}
	return roots, nil
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

func indexRoot(roots []Root, c *x509.Certificate) int {
	for i, r := range roots {
		if r.Certificate.Equal(c) {
			return i
		}
	}
	return -1
}

func indexIssuer(roots []Root, c *x509.Certificate) int {
	for i, r := range roots {
		if bytes.Equal(r.Certificate.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(r.Certificate) == nil {
			return i
		}
	}
	return -1
}

// check refuses a root that can't be one, and marks simulated ones.
func (r *Root) check() error {
	if r.Certificate == nil {
		return errors.New("a root without a certificate")
	}
	if _, err := r.product(); err != nil {
		return err
	}
	if err := checkIssued(r.Certificate, r.Certificate); err != nil {
		return err
	}
	for _, c := range r.Intermediates {
		if err := checkIssued(c, r.Certificate); err != nil {
			return err
		}
	}
	if r.Certificate.Subject.SerialNumber == SimulatedMark {
		r.Simulated = true
	}
	return nil
}

// addKnown gives a root of AMD's that came without intermediates those known here.
func (r *Root) addKnown() {
	if len(r.Intermediates) > 0 {
		return
	}
	known := amdRoots()
	if i := indexRoot(known, r.Certificate); i >= 0 {
		r.Intermediates = known[i].Intermediates
	}
}

// issued tells whether the root issued c. Its own intermediates were verified when it
// was checked.
func (r *Root) issued(c *x509.Certificate) error {
	for _, known := range r.Intermediates {
		if known.Equal(c) {
			return nil
		}
	}
	return checkIssued(c, r.Certificate)
}

func (r *Root) product() (Product, error) {
	line, ok := strings.CutPrefix(r.Certificate.Subject.CommonName, "ARK-")
	if !ok {
		return ProductUnknown, fmt.Errorf("root is named %q, want ARK-<product>", r.Certificate.Subject.CommonName)
	}
	return productByName(line)
}

// checkIssued verifies that parent issued c, as AMD does: names match, parent is a
// certificate authority with an RSA key, and the signature is RSASSA-PSS with
// SHA-384 (KDS section 3.2).
func checkIssued(c, parent *x509.Certificate) error {
	if !bytes.Equal(c.RawIssuer, parent.RawSubject) {
		return fmt.Errorf("%s is issued by %q, not by %q", c.Subject.CommonName, c.Issuer.CommonName, parent.Subject.CommonName)
	}
	key, ok := parent.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minRSABits {
		return fmt.Errorf("%s has no RSA key of %d bits or more", parent.Subject.CommonName, minRSABits)
	}
	if c.SignatureAlgorithm != x509.SHA384WithRSAPSS {
		return fmt.Errorf("%s is signed with %v, want %v", c.Subject.CommonName, c.SignatureAlgorithm, x509.SHA384WithRSAPSS)
	}
	if len(parent.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("%s has the unknown critical extension %v", parent.Subject.CommonName, parent.UnhandledCriticalExtensions[0])
	}
	if err := c.CheckSignatureFrom(parent); err != nil {
		return fmt.Errorf("%s is not signed by %s: %w", c.Subject.CommonName, parent.Subject.CommonName, err)
	}
	return nil
}
