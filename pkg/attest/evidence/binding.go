package evidence

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"maps"
	"slices"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// Domain tags keep a digest of one kind from being taken for another.
const (
	tagReportData = "casemate/report-data/v1"
	tagDevices    = "casemate/device-evidence/v1"
	tagPlatform   = "casemate/platform/v1"
)

// ReportData is the 64 bytes that an enclave has its CPU sign: SHA-512 over the
// domain tag, the caller's nonce, the TLS key's digest and the device evidence's
// digest, each preceded by its length.
func ReportData(nonce, tlsKeyDigest, deviceEvidenceDigest [32]byte) [64]byte {
	h := sha512.New()
	e := encoder{h}
	e.text(tagReportData)
	e.bytes(nonce[:])
	e.bytes(tlsKeyDigest[:])
	e.bytes(deviceEvidenceDigest[:])
	return [64]byte(h.Sum(nil))
}

// DeviceEvidenceDigest is SHA-256 over the domain tag, the number of documents
// and each document preceded by its length. No devices have a digest too.
func DeviceEvidenceDigest(documents [][]byte) [32]byte {
	h := sha256.New()
	e := encoder{h}
	e.text(tagDevices)
	e.number(uint64(len(documents)))
	for _, d := range documents {
		e.bytes(d)
	}
	return [32]byte(h.Sum(nil))
}

// ReportData is ReportData of the document's own nonce, key and devices.
func (d *Document) ReportData() [64]byte {
	return ReportData(d.Nonce, d.TLSKeyDigest, DeviceEvidenceDigest(d.DeviceEvidence))
}

// PlatformDigest is what is set at launch as HOST_DATA (SNP, 32 bytes) or, padded
// with zeroes, as MRCONFIGID (TDX, 48 bytes): SHA-256 over the domain tag and
// every field of the platform part in the order of its numbers. Texts, bytes and
// lists are preceded by their lengths, maps are in the order of their keys. The
// protobuf encoding is not used, as it is not canonical. A nil platform has the
// digest of an empty one.
func PlatformDigest(p *agentv1.Platform) [32]byte {
	h := sha256.New()
	e := encoder{h}
	e.text(tagPlatform)
	e.text(p.GetClusterId())
	e.bytes(p.GetSecretsKey())
	e.text(p.GetDomain())
	e.number(uint64(len(p.GetVariables())))
	for _, name := range slices.Sorted(maps.Keys(p.GetVariables())) {
		e.text(name)
		e.text(p.GetVariables()[name])
	}
	e.texts(p.GetSecrets())
	e.flag(p.GetDebug())
	e.texts(p.GetSshKeys())
	return [32]byte(h.Sum(nil))
}

// encoder writes values so that no two sequences of values give the same bytes.
type encoder struct{ h hash.Hash }

func (e encoder) number(n uint64) { e.h.Write(binary.BigEndian.AppendUint64(nil, n)) }

func (e encoder) bytes(b []byte) {
	e.number(uint64(len(b)))
	e.h.Write(b)
}

func (e encoder) text(s string) { e.bytes([]byte(s)) }

func (e encoder) texts(list []string) {
	e.number(uint64(len(list)))
	for _, s := range list {
		e.text(s)
	}
}

func (e encoder) flag(b bool) {
	n := uint64(0)
	if b {
		n = 1
	}
	e.number(n)
}
