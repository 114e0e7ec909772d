package simulated

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The report's layout: magic, measurement, host data, report data, flags,
// seconds since 1970, and SHA-256 over a domain tag and all before it. Numbers
// are big-endian.
const (
	magic      = "CSMSIM01"
	tagReport  = "casemate/simulated-report/v1"
	reportSize = len(magic) + 48 + 32 + 64 + 8 + 8 + sha256.Size
	// maxIssued keeps times within what Go's calendar can show (year 9999).
	maxIssued = 253402300799
)

// Report is what a simulated CPU states.
type Report struct {
	// Measurement is that of the launch; see [Measurement].
	Measurement [48]byte
	// HostData is the digest of the platform part.
	HostData [32]byte
	// ReportData is what the guest had stated.
	ReportData [64]byte
	// Debug is whether it is a debug enclave.
	Debug bool
	// Issued is when the report was made, in whole seconds.
	Issued time.Time
}

// Encode writes the report.
func (r Report) Encode() []byte {
	b := append(make([]byte, 0, reportSize), magic...)
	b = append(b, r.Measurement[:]...)
	b = append(b, r.HostData[:]...)
	b = append(b, r.ReportData[:]...)
	b = binary.BigEndian.AppendUint64(b, flags(r.Debug))
	b = binary.BigEndian.AppendUint64(b, uint64(max(0, r.Issued.Unix())))
	sum := checksum(b)
	return append(b, sum[:]...)
}

func checksum(body []byte) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(tagReport), body...))
}

// ParseReport reads a report and checks its own digest, which shows accidents
// only: anybody can compute it.
func ParseReport(raw []byte) (Report, error) {
	var r Report
	if len(raw) != reportSize {
		return r, fmt.Errorf("simulated report: %d bytes, expected %d", len(raw), reportSize)
	}
	body, sum := raw[:reportSize-sha256.Size], raw[reportSize-sha256.Size:]
	if want := checksum(body); !bytes.Equal(sum, want[:]) {
		return r, errors.New("simulated report: its digest does not match its content")
	}
	rest, ok := bytes.CutPrefix(body, []byte(magic))
	if !ok {
		return r, errors.New("simulated report: it does not begin as one")
	}
	rest = rest[copy(r.Measurement[:], rest):]
	rest = rest[copy(r.HostData[:], rest):]
	rest = rest[copy(r.ReportData[:], rest):]
	bits, issued := binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])
	if bits&^uint64(flagDebug) != 0 || issued > maxIssued {
		return r, errors.New("simulated report: flags or time are out of range")
	}
	r.Debug, r.Issued = bits == flagDebug, time.Unix(int64(issued), 0).UTC()
	return r, nil
}
