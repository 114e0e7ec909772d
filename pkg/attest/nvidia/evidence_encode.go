package nvidia

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
)

// EncodeEvidence writes evidence as the attestation SDK does, which
// [ParseEvidence] reads: an array of {arch, certificate, evidence, nonce}. System
// is not in that form. Versions that the devices state are left out: they stand
// in the reports.
func EncodeEvidence(e Evidence) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	type entry struct {
		Arch        Architecture `json:"arch"`
		Certificate []byte       `json:"certificate"`
		Evidence    []byte       `json:"evidence"`
		Nonce       string       `json:"nonce,omitempty"`
	}
	entries := make([]entry, len(e.Devices))
	for i, d := range e.Devices {
		entries[i] = entry{d.Arch, ChainPEM(d.Chain), d.Report, hex.EncodeToString(d.Stated.Nonce)}
	}
	b, err := json.Marshal(entries)
	if err != nil {
		return nil, fmt.Errorf("write evidence document: %w", err)
	}
	return b, nil
}

// ChainPEM writes certificates in the one form that [ParseChainPEM] reads.
func ChainPEM(chain [][]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}
