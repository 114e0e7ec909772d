package nvidia

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"errors"
	"fmt"
	"math/big"
)

// Sizes and codes of an SPDM 1.1 GET_MEASUREMENTS exchange (DMTF DSP0274 1.1,
// 10.11) as NVIDIA's devices record it: the request, directly followed by the
// response.
const (
	maxReportSize = 16 << 10 // the largest real ones are 4.3 KiB

	requestSize     = 37 // header 4, nonce 32, slot 1
	nonceSize       = 32
	signatureSize   = 96 // ECDSA P-384, r||s, big-endian
	measurementSize = 48 // SHA-384

	spdmVersion11      = 0x11
	codeGetMeasurement = 0xe0
	codeMeasurements   = 0x60
	wantSignature      = 0x01 // request param 1, bit 0
	allMeasurements    = 0xff // request param 2
	specDMTF           = 0x01 // measurement specification, bit 0
)

// Measurement is one block of a report's measurement record.
type Measurement struct {
	// Index counts from 0, as RIMs do; in the report it counts from 1.
	Index int
	// Type is DMTFSpecMeasurementValueType.
	Type byte
	// Value is the SHA-384 that was measured. It points into the report.
	Value []byte
}

// Report is a parsed SPDM measurement report. Its slices point into the bytes it
// was parsed from.
type Report struct {
	// Nonce is the caller's, from the request: what makes the report fresh.
	Nonce []byte
	// ResponderNonce is the device's own.
	ResponderNonce []byte
	// Measurements are in ascending order of their index, each at most once.
	Measurements []Measurement
	// Opaque holds the device's own fields.
	Opaque Opaque
	// Signature is r||s.
	Signature []byte

	raw    []byte
	signed []byte
}

// ParseReport parses a report that fills raw to its last byte.
func ParseReport(raw []byte) (*Report, error) {
	if len(raw) > maxReportSize {
		return nil, fmt.Errorf("report of %d bytes is larger than %d", len(raw), maxReportSize)
	}
	r := reader{rest: raw}
	out := &Report{raw: raw}
	if err := out.parseRequest(&r); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if err := out.parseResponse(&r); err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	if len(r.rest) != 0 {
		return nil, fmt.Errorf("%d bytes follow the signature", len(r.rest))
	}
	out.signed = raw[:len(raw)-signatureSize]
	return out, nil
}

func (p *Report) parseRequest(r *reader) error {
	head := r.take(4, "header")
	p.Nonce = r.take(nonceSize, "nonce")
	slot := r.u8("slot")
	if r.err != nil {
		return r.err
	}
	want := []byte{spdmVersion11, codeGetMeasurement, wantSignature, allMeasurements}
	if !bytes.Equal(head, want) {
		return fmt.Errorf("header is %x, want %x: version, GET_MEASUREMENTS, signed, all", head, want)
	}
	if slot != 0 {
		return fmt.Errorf("certificate slot is %d, want 0", slot)
	}
	return nil
}

func (p *Report) parseResponse(r *reader) error {
	head := r.take(4, "header")
	blocks := int(r.u8("number of blocks"))
	record := r.take(r.u24("measurement record length"), "measurement record")
	p.ResponderNonce = r.take(nonceSize, "nonce")
	opaque := r.take(r.u16("opaque length"), "opaque data")
	p.Signature = r.take(signatureSize, "signature")
	if r.err != nil {
		return r.err
	}
	if want := []byte{spdmVersion11, codeMeasurements, 0, 0}; !bytes.Equal(head, want) {
		return fmt.Errorf("header is %x, want %x: version, MEASUREMENTS", head, want)
	}
	var err error
	if p.Measurements, err = parseMeasurements(record, blocks); err != nil {
		return fmt.Errorf("measurement record: %w", err)
	}
	if p.Opaque, err = ParseOpaque(opaque); err != nil {
		return fmt.Errorf("opaque data: %w", err)
	}
	return nil
}

// parseMeasurements parses exactly n blocks (DSP0274 1.1, table 45): index, spec,
// size, then type, value size and value.
func parseMeasurements(record []byte, n int) ([]Measurement, error) {
	if n == 0 {
		return nil, errors.New("it has no block")
	}
	r := reader{rest: record}
	out := make([]Measurement, 0, n)
	for len(out) < n {
		index, spec, size := int(r.u8("index")), r.u8("specification"), r.u16("size")
		kind, valueSize := r.u8("value type"), r.u16("value size")
		value := r.take(measurementSize, "value")
		switch {
		case r.err != nil:
			return nil, fmt.Errorf("block %d: %w", len(out), r.err)
		case spec != specDMTF:
			return nil, fmt.Errorf("block %d: specification %d is not DMTF's", len(out), spec)
		case valueSize != measurementSize || size != valueSize+3:
			return nil, fmt.Errorf("block %d: size %d around a value of %d bytes, want a SHA-384", len(out), size, valueSize)
		case index == 0 || len(out) > 0 && index-1 <= out[len(out)-1].Index:
			return nil, fmt.Errorf("block %d: index %d does not ascend", len(out), index)
		}
		out = append(out, Measurement{Index: index - 1, Type: kind, Value: value})
	}
	if len(r.rest) != 0 {
		return nil, fmt.Errorf("%d bytes follow the last of %d blocks", len(r.rest), n)
	}
	return out, nil
}

// measurement returns the value at an index counted from 0.
func (p *Report) measurement(index int) ([]byte, bool) {
	for i := range p.Measurements {
		if p.Measurements[i].Index == index {
			return p.Measurements[i].Value, true
		}
	}
	return nil, false
}

// verify checks the report's signature: ECDSA P-384 over the SHA-384 of request
// and response without the signature.
func (p *Report) verify(key *ecdsa.PublicKey) error {
	sum := sha512.Sum384(p.signed)
	return verifyRaw(key, sum[:], p.Signature)
}

// verifyRaw checks a signature in the form r||s.
func verifyRaw(key *ecdsa.PublicKey, sum, signature []byte) error {
	if len(signature) != signatureSize {
		return fmt.Errorf("signature of %d bytes, want %d", len(signature), signatureSize)
	}
	r := new(big.Int).SetBytes(signature[:signatureSize/2])
	s := new(big.Int).SetBytes(signature[signatureSize/2:])
	if !ecdsa.Verify(key, sum, r, s) {
		return errors.New("the ECDSA P-384 signature does not verify with the certificate's key")
	}
	return nil
}
