package tdxtest

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// Quote is what a quote says, and what may be wrong with it. [NewQuote] fills it
// with what a healthy platform says.
type Quote struct {
	Header   tdx.Header
	Body     tdx.Body
	QEReport tdx.QEReport
	QEAuth   []byte
	Chain    []byte // PEM of the PCK chain
	Trailing []byte // after the signed data

	// BeforeSigning may change the QE report, whose data bind the attestation
	// key by then, before the PCK key signs it.
	BeforeSigning func(*tdx.QEReport)
	// AfterSigning may change any byte of the finished quote.
	AfterSigning func(raw []byte)
}

// intelQEMRSigner and the QE vendor are Intel's, since a verifier compares them.
const (
	intelQEMRSigner = "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"
	intelQEVendor   = "939a7233f79c4ca9940a0db3957f0607"
)

// NewQuote returns what a platform says that is as new as the default TCB info:
// version 4 with body type 2, or version 5 with body type 2 or 3.
func NewQuote(version, bodyType uint16) *Quote {
	q := &Quote{QEAuth: make([]byte, 32)}
	q.Header = tdx.Header{Version: version, AttestationKeyType: 2, TEEType: 0x81}
	mustHex(q.Header.QEVendorID[:], intelQEVendor)
	q.Body.Type = bodyType
	q.Body.TEETCBSVN = [16]byte{5, 1, 3}
	q.Body.TDAttributes[3] = 0x10 // SEPT_VE_DISABLE
	q.Body.XFAM = [8]byte{0xe7, 0x02, 0x06}
	for i, f := range [][]byte{q.Body.MRSEAM[:], q.Body.MRTD[:], q.Body.RTMR[0][:], q.Body.RTMR[1][:], q.Body.RTMR[2][:], q.Body.ReportData[:]} {
		for j := range f {
			f[j] = byte(0x10*(i+1) + j%16)
		}
	}
	if bodyType == 3 {
		q.Body.TEETCBSVN2 = q.Body.TEETCBSVN
	}
	q.QEReport.Attributes[0] = 0x15
	q.QEReport.Attributes[8] = 0xe7
	mustHex(q.QEReport.MRSigner[:], intelQEMRSigner)
	q.QEReport.ISVProdID, q.QEReport.ISVSVN = 2, 6
	return q
}

func mustHex(dst []byte, text string) {
	if _, err := hex.Decode(dst, []byte(text)); err != nil {
		panic(err)
	}
}

// signedPart encodes header, descriptor (version 5) and body.
func (q *Quote) signedPart() []byte {
	le := binary.LittleEndian
	out := le.AppendUint16(nil, q.Header.Version)
	out = le.AppendUint16(out, q.Header.AttestationKeyType)
	out = le.AppendUint32(out, q.Header.TEEType)
	out = append(out, 0, 0, 0, 0)
	out = append(out, q.Header.QEVendorID[:]...)
	out = append(out, q.Header.UserData[:]...)
	body := encodeBody(&q.Body)
	if q.Header.Version == 5 {
		out = le.AppendUint16(out, q.Body.Type)
		out = le.AppendUint32(out, uint32(len(body)))
	}
	return append(out, body...)
}

func encodeBody(b *tdx.Body) []byte {
	var out []byte
	for _, f := range [][]byte{
		b.TEETCBSVN[:], b.MRSEAM[:], b.MRSignerSEAM[:], b.SEAMAttributes[:], b.TDAttributes[:], b.XFAM[:],
		b.MRTD[:], b.MRConfigID[:], b.MROwner[:], b.MROwnerConfig[:],
		b.RTMR[0][:], b.RTMR[1][:], b.RTMR[2][:], b.RTMR[3][:], b.ReportData[:],
	} {
		out = append(out, f...)
	}
	if b.Type == 3 {
		out = append(append(out, b.TEETCBSVN2[:]...), b.MRServiceTD[:]...)
	}
	return out
}

// encodeQEReport lays a QE report out as the SGX REPORT body.
func encodeQEReport(r *tdx.QEReport) []byte {
	out := make([]byte, 384)
	copy(out[0:], r.CPUSVN[:])
	copy(out[16:], r.MiscSelect[:])
	copy(out[48:], r.Attributes[:])
	copy(out[64:], r.MREnclave[:])
	copy(out[128:], r.MRSigner[:])
	binary.LittleEndian.PutUint16(out[256:], r.ISVProdID)
	binary.LittleEndian.PutUint16(out[258:], r.ISVSVN)
	copy(out[320:], r.ReportData[:])
	return out
}

// typed encodes a certification data structure: type, size, bytes.
func typed(kind uint16, data []byte) []byte {
	out := binary.LittleEndian.AppendUint16(nil, kind)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	return append(out, data...)
}
