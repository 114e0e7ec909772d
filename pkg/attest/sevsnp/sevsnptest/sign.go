package sevsnptest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// Offsets of the signature's parts in a report, little-endian numbers of 72 bytes.
const (
	signedSize = 0x2A0
	partSize   = 72
)

// Variant changes evidence on its way, to make it wrong on purpose. Nil fields
// change nothing.
type Variant struct {
	// VEK changes the VCEK's or VLEK's certificate before it is issued.
	VEK func(*x509.Certificate)
	// Report changes the raw report before it is signed.
	Report func([]byte)
	// Signed changes the raw report after it was signed.
	Signed func([]byte)
}

// Report returns a report of the newest version as a good guest would get it: debugging
// off, VMPL 0, a TCB and chip id of this signer. Change what you need, then Sign it.
func (s *Signer) Report() *sevsnp.Report {
	tcb := sevsnp.TCB{Bootloader: 4, TEE: 1, SNP: 22, Microcode: 213}
	r := &sevsnp.Report{
		Version: sevsnp.MaxReportVersion, Policy: 0x30000, SignatureAlgo: 1, PlatformInfo: 0x25,
		Current: sevsnp.FirmwareVersion{Major: 1, Minor: 55, Build: 21}, Committed: sevsnp.FirmwareVersion{Major: 1, Minor: 55, Build: 21},
		Family: 0x19, Model: 0x01, Stepping: 1,
	}
	switch s.product {
	case sevsnp.Genoa:
		r.Model = 0x11
	case sevsnp.Turin:
		r.Family, r.Model, tcb.FMC = 0x1A, 0x02, 1
	}
	raw := tcb.Encode(s.product)
	r.ReportedTCB, r.CurrentTCB, r.CommittedTCB, r.LaunchTCB = raw, raw, raw, raw
	id := sha512.Sum512(pointOf(&s.vek.PublicKey))
	copy(r.ChipID[:], id[:s.chipIDSize()])
	copy(r.ReportIDMA[:], bytes.Repeat([]byte{0xff}, 32))
	return r
}

func pointOf(pub *ecdsa.PublicKey) []byte {
	b, err := pub.Bytes()
	if err != nil {
		return nil // only for points off the curve, which a key of ours can't be
	}
	return b
}

func (s *Signer) chipIDSize() int {
	if s.product == sevsnp.Turin {
		return 8
	}
	return 64
}

// Sign signs a report with the kind of key that it names, and returns it with that
// key's certificate, issued for its TCB and chip, and the chain up to the root.
func (s *Signer) Sign(r *sevsnp.Report) (sevsnp.Evidence, error) {
	return s.SignVariant(r, Variant{})
}

// SignVariant does what Sign does, with changes on the way.
func (s *Signer) SignVariant(r *sevsnp.Report, v Variant) (sevsnp.Evidence, error) {
	kind := r.Signer.Kind()
	t := s.vekTemplate(kind, r)
	if v.VEK != nil {
		v.VEK(t)
	}
	by := s.issuer(kind)
	cert, err := issue(t, by.cert, s.vek.Public(), by.key)
	if err != nil {
		return sevsnp.Evidence{}, err
	}
	raw := r.Marshal()
	if v.Report != nil {
		v.Report(raw)
	}
	if err := s.signRaw(raw); err != nil {
		return sevsnp.Evidence{}, err
	}
	if v.Signed != nil {
		v.Signed(raw)
	}
	return sevsnp.Evidence{Report: raw, VEK: cert.Raw, Chain: s.Chain(kind)}, nil
}

func (s *Signer) signRaw(raw []byte) error {
	digest := sha512.Sum384(raw[:signedSize])
	der, err := ecdsa.SignASN1(rand.Reader, s.vek, digest[:])
	if err != nil {
		return fmt.Errorf("sign simulated report: %w", err)
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return fmt.Errorf("sign simulated report: %w", err)
	}
	for i, n := range []*big.Int{sig.R, sig.S} {
		part := raw[signedSize+i*partSize : signedSize+(i+1)*partSize]
		n.FillBytes(part)
		for a, b := 0, len(part)-1; a < b; a, b = a+1, b-1 {
			part[a], part[b] = part[b], part[a]
		}
	}
	return nil
}

func (s *Signer) vekTemplate(kind sevsnp.KeyKind, r *sevsnp.Report) *x509.Certificate {
	t := &x509.Certificate{
		Subject: amdName("SEV-" + kind.String()), SerialNumber: new(big.Int),
		NotBefore: s.from, NotAfter: s.from.Add(lifetime), SignatureAlgorithm: x509.SHA384WithRSAPSS,
	}
	add := func(value []byte, arc ...int) {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: OID(arc...), Value: value})
	}
	add(number(1), 1)
	name := s.product.String()
	if kind == sevsnp.VCEK && s.product != sevsnp.Turin {
		name += "-B1"
	}
	add(append([]byte{asn1.TagIA5String, byte(len(name))}, name...), 2)
	for _, spl := range s.spls() {
		add(number(r.ReportedTCB[spl.pos]), 3, spl.num)
	}
	if kind == sevsnp.VLEK {
		const csp = "CN=simulated"
		add(append([]byte{asn1.TagIA5String, byte(len(csp))}, csp...), 5)
	} else {
		add(bytes.Clone(r.ChipID[:s.chipIDSize()]), 4)
	}
	return t
}

// OID returns an extension's identifier under AMD's arc 1.3.6.1.4.1.3704.1.
func OID(arc ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}, arc...)
}

func number(n uint8) []byte {
	if n > 0x7f {
		return []byte{asn1.TagInteger, 2, 0, n}
	}
	return []byte{asn1.TagInteger, 1, n}
}

// spls lists the SPL extensions of a product with their bytes in TCB_VERSION
// (KDS table 8, ABI tables 5 and 6).
func (s *Signer) spls() []struct{ num, pos int } {
	if s.product == sevsnp.Turin {
		return []struct{ num, pos int }{{9, 0}, {1, 1}, {2, 2}, {3, 3}, {5, 4}, {6, 5}, {7, 6}, {8, 7}}
	}
	return []struct{ num, pos int }{{1, 0}, {2, 1}, {4, 2}, {5, 3}, {6, 4}, {7, 5}, {3, 6}, {8, 7}}
}
