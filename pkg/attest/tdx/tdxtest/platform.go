package tdxtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// Platform is a machine with a PCK certificate, able to sign quotes.
type Platform struct {
	PCK            *Authority
	AttestationKey *ecdsa.PrivateKey
	// Chain is the PEM of PCK, PCK CA and root that goes into quotes.
	Chain []byte
}

// DefaultExtensions describe a platform that reaches the newest level of the
// default TCB info.
func DefaultExtensions() tdx.PCKExtensions {
	x := tdx.PCKExtensions{
		FMSPC: [6]byte{0xb0, 0xc0, 0x6f}, PCESVN: 11, SGXType: 1,
		ComponentSVNs: [16]byte{3, 3, 2, 2, 4, 1, 0, 5},
	}
	x.CPUSVN = x.ComponentSVNs
	x.PPID[0] = 0x77
	return x
}

// NewPlatform issues a PCK certificate with the given SGX extensions; the shapes
// change its template in turn.
func (p *PKI) NewPlatform(x tdx.PCKExtensions, shape ...func(*x509.Certificate)) (*Platform, error) {
	ext, err := SGXExtension(x)
	if err != nil {
		return nil, err
	}
	// The other extensions are those of real PCK certificates; some verifiers count them.
	withExtension := func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, ext)
		c.SubjectKeyId = x.PPID[:]
		c.CRLDistributionPoints = []string{"https://pcs.invalid/pckcrl?ca=platform&encoding=der"}
	}
	pck, err := p.Issue(p.PCKCA, NamePCK, append([]func(*x509.Certificate){End, withExtension}, shape...)...)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make attestation key: %w", err)
	}
	return &Platform{PCK: pck, AttestationKey: key, Chain: ChainPEM(pck.Cert, p.PCKCA.Cert, p.Root.Cert)}, nil
}

// Quote signs a quote. It writes the attestation key's binding into the QE
// report; everything else is as the caller has it.
func (pl *Platform) Quote(q *Quote) ([]byte, error) {
	signed := q.signedPart()
	sig, err := SignRaw(pl.AttestationKey, signed)
	if err != nil {
		return nil, err
	}
	public, err := pl.AttestationKey.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode attestation key: %w", err)
	}
	public = public[1:] // without the leading 4 of an uncompressed point
	report := q.QEReport
	binding := sha256.Sum256(append(append([]byte{}, public...), q.QEAuth...))
	copy(report.ReportData[:], binding[:])
	if q.BeforeSigning != nil {
		q.BeforeSigning(&report)
	}
	qe := encodeQEReport(&report)
	qeSig, err := SignRaw(pl.PCK.Key, qe)
	if err != nil {
		return nil, err
	}
	chain := q.Chain
	if chain == nil {
		chain = pl.Chain
	}
	qe = append(qe, qeSig...)
	qe = binary.LittleEndian.AppendUint16(qe, uint16(len(q.QEAuth)))
	qe = append(append(qe, q.QEAuth...), typed(5, chain)...)
	data := append(append(sig, public...), typed(6, qe)...)
	raw := binary.LittleEndian.AppendUint32(signed, uint32(len(data)))
	raw = append(append(raw, data...), q.Trailing...)
	if q.AfterSigning != nil {
		q.AfterSigning(raw)
	}
	return raw, nil
}

// SignRaw signs the SHA-256 of a message, giving r || s.
func SignRaw(key *ecdsa.PrivateKey, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}

// Marshal encodes a platform with its keys as PEM, so that a process of its own
// can sign quotes: PCK key, attestation key, PCK chain.
func (pl *Platform) Marshal() ([]byte, error) {
	var out []byte
	for _, key := range []*ecdsa.PrivateKey{pl.PCK.Key, pl.AttestationKey} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("encode platform: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	return append(out, pl.Chain...), nil
}

// UnmarshalPlatform reads what [Platform.Marshal] wrote.
func UnmarshalPlatform(in []byte) (*Platform, error) {
	pl := &Platform{PCK: &Authority{}}
	for _, dst := range []**ecdsa.PrivateKey{&pl.PCK.Key, &pl.AttestationKey} {
		block, rest := pem.Decode(in)
		if block == nil || block.Type != "PRIVATE KEY" {
			return nil, errors.New("read platform: expected two private keys and a chain in PEM")
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read platform: %w", err)
		}
		ec, ok := key.(*ecdsa.PrivateKey)
		if !ok {
			return nil, errors.New("read platform: the key is not an ECDSA key")
		}
		*dst, in = ec, rest
	}
	pl.Chain = in
	block, _ := pem.Decode(in)
	if block == nil {
		return nil, errors.New("read platform: the chain is missing")
	}
	var err error
	if pl.PCK.Cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("read platform: %w", err)
	}
	return pl, nil
}
