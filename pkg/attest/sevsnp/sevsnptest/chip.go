package sevsnptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// Chip is one processor: it signs reports with its VCEK and can certify nothing. It
// is not changed after it was made, and safe for concurrent use.
type Chip struct {
	product sevsnp.Product
	key     *ecdsa.PrivateKey
	vcek    []byte   // DER
	chain   [][]byte // DER of ASK and ARK
}

// NewChip makes a processor with a key of its own, endorsed at the TCB of [Chip.Report].
func (s *Signer) NewChip() (*Chip, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make simulated chip: %w", err)
	}
	c := &Chip{product: s.product, key: key, chain: [][]byte{s.ask.cert.Raw, s.ark.cert.Raw}}
	own := &Signer{product: s.product, from: s.from, vek: key}
	cert, err := issue(own.vekTemplate(sevsnp.VCEK, c.Report()), s.ask.cert, key.Public(), s.ask.key)
	if err != nil {
		return nil, err
	}
	c.vcek = cert.Raw
	return c, nil
}

// Report returns a report as a good guest on this chip would get it; see [Signer.Report].
func (c *Chip) Report() *sevsnp.Report {
	return (&Signer{product: c.product, vek: c.key}).Report()
}

// Sign signs a report and returns its bytes.
func (c *Chip) Sign(r *sevsnp.Report) ([]byte, error) {
	raw := r.Marshal()
	return raw, (&Signer{vek: c.key}).signRaw(raw)
}

// Certificates are the VCEK, the ASK and the ARK, in DER.
func (c *Chip) Certificates() [][]byte { return append([][]byte{c.vcek}, c.chain...) }

// Marshal returns the chip's key and certificates as PEM.
func (c *Chip) Marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, fmt.Errorf("write simulated chip: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, cert := range c.Certificates() {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	}
	return out, nil
}

// ParseChip reads what [Chip.Marshal] wrote.
func ParseChip(b []byte) (*Chip, error) {
	key, rest, err := nextKey(b)
	if err != nil {
		return nil, err
	}
	own, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("read simulated chip: its key is not ECDSA")
	}
	c := &Chip{key: own}
	var ders [][]byte
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		ders = append(ders, block.Bytes)
	}
	if len(ders) != 3 {
		return nil, fmt.Errorf("read simulated chip: %d certificates, want VCEK, ASK and ARK", len(ders))
	}
	ark, err := x509.ParseCertificate(ders[2])
	if err != nil {
		return nil, fmt.Errorf("read simulated chip: %w", err)
	}
	for _, p := range []sevsnp.Product{sevsnp.Milan, sevsnp.Genoa, sevsnp.Turin} {
		if ark.Subject.CommonName == "ARK-"+p.String() {
			c.product = p
		}
	}
	c.vcek, c.chain = ders[0], ders[1:]
	return c, nil
}
