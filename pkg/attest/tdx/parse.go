package tdx

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrVersion says that a quote is of a version, TEE, key or body type that this
// package doesn't verify.
var ErrVersion = errors.New("unsupported quote")

// ParseQuote reads a quote's layout without judging it. It never panics, and
// allocates no more than the quote itself needs. An error that wraps
// [ErrVersion] means that the layout is not one of those this package knows.
func ParseQuote(raw []byte) (*Quote, error) {
	if len(raw) > maxQuoteSize {
		return nil, fmt.Errorf("the quote has %d bytes, at most %d are read", len(raw), maxQuoteSize)
	}
	c := &cursor{rest: raw}
	q := &Quote{}
	if err := q.parseHeader(c); err != nil {
		return nil, err
	}
	if err := q.parseBody(c); err != nil {
		return nil, err
	}
	q.Signed = raw[:len(raw)-len(c.rest)]
	n := c.uint32("signature data length")
	section := &cursor{rest: c.take(int64(n), "signature data"), err: c.err}
	if err := q.parseSignatureData(section); err != nil {
		return nil, err
	}
	q.Trailing = len(c.rest)
	return q, nil
}

func (q *Quote) parseHeader(c *cursor) error {
	h := &q.Header
	h.Version = c.uint16("header")
	h.AttestationKeyType = c.uint16("header")
	h.TEEType = c.uint32("header")
	c.take(4, "header") // QE and PCE SVN in old quotes, reserved here
	c.copy(h.QEVendorID[:], "header")
	c.copy(h.UserData[:], "header")
	switch {
	case c.err != nil:
		return c.err
	case h.Version != 4 && h.Version != 5:
		return fmt.Errorf("%w: version %d, only 4 and 5 are verified", ErrVersion, h.Version)
	case h.TEEType != teeTypeTDX:
		return fmt.Errorf("%w: TEE type %#x, TDX is 0x81", ErrVersion, h.TEEType)
	case h.AttestationKeyType != attestationKeyECDSAP256:
		return fmt.Errorf("%w: attestation key type %d, only 2 (ECDSA P-256) is verified", ErrVersion, h.AttestationKeyType)
	}
	return nil
}

func (q *Quote) parseBody(c *cursor) error {
	b := &q.Body
	b.Type = bodyTypeTD10
	want := uint32(bodySize10)
	if q.Header.Version == 5 {
		b.Type = c.uint16("body descriptor")
		size := c.uint32("body descriptor")
		if c.err != nil {
			return c.err
		}
		switch b.Type {
		case bodyTypeTD10:
		case bodyTypeTD15:
			want = bodySize15
		default:
			return fmt.Errorf("%w: body type %d, only 2 (TD 1.0) and 3 (TD 1.5) are verified", ErrVersion, b.Type)
		}
		if size != want {
			return fmt.Errorf("body of type %d has %d bytes, expected %d", b.Type, size, want)
		}
	}
	for _, f := range b.fields() {
		c.copy(f, "TD report")
	}
	return c.err
}

// fields lists the body's fields in the order of the TD report.
func (b *Body) fields() [][]byte {
	f := [][]byte{
		b.TEETCBSVN[:], b.MRSEAM[:], b.MRSignerSEAM[:], b.SEAMAttributes[:],
		b.TDAttributes[:], b.XFAM[:], b.MRTD[:], b.MRConfigID[:], b.MROwner[:],
		b.MROwnerConfig[:], b.RTMR[0][:], b.RTMR[1][:], b.RTMR[2][:], b.RTMR[3][:],
		b.ReportData[:],
	}
	if b.Type == bodyTypeTD15 {
		f = append(f, b.TEETCBSVN2[:], b.MRServiceTD[:])
	}
	return f
}

// parseSignatureData reads the ECDSA quote signature data structure, in which
// every length must be used up exactly.
func (q *Quote) parseSignatureData(c *cursor) error {
	q.Signature = c.take(signatureSize, "quote signature")
	q.certification = c.rest
	q.AttestationKey = c.take(keySize, "attestation key")
	qe := c.typed(certTypeQEReport, "certification data")
	if c.err == nil && len(c.rest) != 0 {
		return fmt.Errorf("%d bytes left in the signature data", len(c.rest))
	}
	qe.err = c.err
	q.QEReportRaw = qe.take(qeReportSize, "QE report")
	q.QEReportSignature = qe.take(signatureSize, "QE report signature")
	authSize := qe.uint16("QE auth data length")
	if authSize > maxAuthSize {
		return fmt.Errorf("QE auth data of %d bytes, at most %d are read", authSize, maxAuthSize)
	}
	q.QEAuthData = qe.take(int64(authSize), "QE auth data")
	chain := qe.typed(certTypePCKChain, "PCK certification data")
	if qe.err != nil {
		return qe.err
	}
	if len(qe.rest) != 0 {
		return fmt.Errorf("%d bytes left in the certification data", len(qe.rest))
	}
	if len(chain.rest) > maxChainSize {
		return fmt.Errorf("PCK chain of %d bytes, at most %d are read", len(chain.rest), maxChainSize)
	}
	q.PCKChain = chain.rest
	q.QEReport = parseQEReport(q.QEReportRaw)
	return nil
}

// parseQEReport reads the fields of a 384-byte SGX report body. Offsets are from
// the Intel SDM, volume 3D, table "Layout of REPORT".
func parseQEReport(raw []byte) QEReport {
	var r QEReport
	copy(r.CPUSVN[:], raw[0:16])
	copy(r.MiscSelect[:], raw[16:20])
	copy(r.Attributes[:], raw[48:64])
	copy(r.MREnclave[:], raw[64:96])
	copy(r.MRSigner[:], raw[128:160])
	r.ISVProdID = binary.LittleEndian.Uint16(raw[256:258])
	r.ISVSVN = binary.LittleEndian.Uint16(raw[258:260])
	copy(r.ReportData[:], raw[320:384])
	return r
}
