package evidence

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence/strictjson"
)

// Version is the version of the document that this package writes and reads.
const Version = 1

// Bounds on a document. The whole holds 8 GPUs and 4 NVSwitches, whose evidence
// has up to 64 KiB each, several times over.
const (
	// MaxBytes is the largest document that is read.
	MaxBytes = 4 << 20
	// MaxReport bounds the report: a TDX quote with its chain has about 8 KiB.
	MaxReport = 64 << 10
	// MaxCertificates and MaxCertificate bound the certificates beside it.
	MaxCertificates = 16
	MaxCertificate  = 64 << 10
	// MaxDevices and MaxDevice bound the device evidence.
	MaxDevices = 32
	MaxDevice  = 512 << 10
	// MaxInsecure and maxMark bound the insecure marks.
	MaxInsecure = 8
	maxMark     = 32
)

// Document is an enclave's evidence. All digests are SHA-256.
type Document struct {
	// Format is the kind of Report: simulated, sev-snp or tdx.
	Format attest.Format
	// Nonce is the caller's, given back.
	Nonce [32]byte
	// TLSKeyDigest is of the SubjectPublicKeyInfo (DER) of the key with which
	// the enclave ends TLS.
	TLSKeyDigest [32]byte
	// ConfigDigest is of the config file, byte for byte.
	ConfigDigest [32]byte
	// PlatformDigest is PlatformDigest of the enclave's platform part.
	PlatformDigest [32]byte
	// Report is the signed report in the format's own encoding.
	Report []byte
	// Certificates are what the host handed over to verify the report with, in
	// DER, and never trusted as they are. For sev-snp: the VCEK or VLEK, then ASK
	// or ASVK, then ARK, as far as they are at hand. A quote of tdx holds its own.
	Certificates [][]byte
	// DeviceEvidence has documents that nvidia.ParseEvidence reads, each of one or
	// more GPUs and switches; their reports are over Nonce.
	DeviceEvidence [][]byte
	// Insecure names the reasons, as the enclave itself sees them, why it
	// protects nothing: "simulated", "debug". Absence proves nothing.
	Insecure []string
}

// wire is the document's JSON, in the order in which it is written.
type wire struct {
	Version        int      `json:"version"`
	Format         string   `json:"format"`
	Nonce          string   `json:"nonce"`
	TLSKeyDigest   string   `json:"tls_key_digest"`
	ConfigDigest   string   `json:"config_digest"`
	PlatformDigest string   `json:"platform_digest"`
	Report         string   `json:"report"`
	Certificates   []string `json:"certificates"`
	DeviceEvidence []string `json:"device_evidence"`
	Insecure       []string `json:"insecure"`
}

// Encode writes the document as JSON. It refuses what Parse would refuse.
func (d *Document) Encode() ([]byte, error) {
	raw, err := json.Marshal(wire{
		Version: Version, Format: string(d.Format),
		Nonce:          hex.EncodeToString(d.Nonce[:]),
		TLSKeyDigest:   hex.EncodeToString(d.TLSKeyDigest[:]),
		ConfigDigest:   hex.EncodeToString(d.ConfigDigest[:]),
		PlatformDigest: hex.EncodeToString(d.PlatformDigest[:]),
		Report:         base64.StdEncoding.EncodeToString(d.Report),
		Certificates:   encodeAll(d.Certificates),
		DeviceEvidence: encodeAll(d.DeviceEvidence),
		Insecure:       append([]string{}, d.Insecure...),
	})
	if err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	if _, err := Parse(raw); err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	return raw, nil
}

func encodeAll(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = base64.StdEncoding.EncodeToString(b)
	}
	return out
}

// Parse reads a document strictly: every member once, none unknown or missing,
// hex and base64 in canonical form, sizes within the bounds.
func Parse(raw []byte) (*Document, error) {
	d := &Document{}
	var version int
	var format string
	err := strictjson.Object(raw, MaxBytes, strictjson.Fields{
		"version":         strictjson.Integer(&version, 1<<20),
		"format":          strictjson.String(&format, maxMark),
		"nonce":           strictjson.Hex(d.Nonce[:]),
		"tls_key_digest":  strictjson.Hex(d.TLSKeyDigest[:]),
		"config_digest":   strictjson.Hex(d.ConfigDigest[:]),
		"platform_digest": strictjson.Hex(d.PlatformDigest[:]),
		"report":          strictjson.Base64(&d.Report, MaxReport),
		"certificates":    strictjson.List(&d.Certificates, MaxCertificates, bytesUpTo(MaxCertificate)),
		"device_evidence": strictjson.List(&d.DeviceEvidence, MaxDevices, bytesUpTo(MaxDevice)),
		"insecure":        strictjson.List(&d.Insecure, MaxInsecure, mark),
	}, "version", "format", "nonce", "tls_key_digest", "config_digest", "platform_digest",
		"report", "certificates", "device_evidence", "insecure")
	if err != nil {
		return nil, fmt.Errorf("evidence document: %w", err)
	}
	if version != Version {
		return nil, fmt.Errorf("evidence document: version %d is not supported; this verifier reads version %d", version, Version)
	}
	d.Format = attest.Format(format)
	if !slices.Contains(formats, d.Format) {
		return nil, fmt.Errorf("evidence document: format %.32q is not known", format)
	}
	if len(d.Report) == 0 {
		return nil, fmt.Errorf("evidence document: the report is empty")
	}
	return d, nil
}

var formats = []attest.Format{attest.FormatSimulated, attest.FormatSEVSNP, attest.FormatTDX}

func bytesUpTo(limit int) func(*[]byte) func(json.RawMessage) error {
	return func(dst *[]byte) func(json.RawMessage) error { return strictjson.Base64(dst, limit) }
}

func mark(dst *string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if err := strictjson.String(dst, maxMark)(raw); err != nil {
			return err
		}
		if *dst != MarkSimulated && *dst != MarkDebug {
			return fmt.Errorf("%q is no insecure mark", *dst)
		}
		return nil
	}
}

// The insecure marks.
const (
	// MarkSimulated is carried by enclaves without a TEE.
	MarkSimulated = "simulated"
	// MarkDebug is carried by debug enclaves, which have a shell.
	MarkDebug = "debug"
)
