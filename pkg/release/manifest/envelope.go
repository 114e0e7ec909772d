package manifest

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// PayloadType is the DSSE payload type: it is signed with the manifest, so that a
// signature made for anything else is none for a manifest.
const PayloadType = "application/vnd.casemate.manifest.v1+json"

// MaxEnvelopeBytes is the largest envelope that is read: a manifest in base64, and
// signatures.
const MaxEnvelopeBytes = 2 << 20

// maxSignatures bounds the signatures of an envelope.
const maxSignatures = 16

// envelope is DSSE's, version 1 (protocol.md and envelope.md of
// secure-systems-lab/dsse).
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

// signature is one of an envelope's. KeyID only helps to find the key.
type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// preAuthenticated is what is signed: PAE of DSSE's protocol.
func preAuthenticated(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(PayloadType), PayloadType, len(payload), payload)
}

// Sign puts a manifest into an envelope, signed by every signer. It takes ed25519
// keys and ECDSA keys on P-256 and P-384; random is crypto/rand's Reader outside
// of tests.
func Sign(random io.Reader, m *Manifest, signers ...crypto.Signer) ([]byte, error) {
	payload, err := m.Encode()
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	if len(signers) == 0 || len(signers) > maxSignatures {
		return nil, fmt.Errorf("sign manifest: %d keys, want 1 to %d", len(signers), maxSignatures)
	}
	e := envelope{PayloadType: PayloadType, Payload: base64.StdEncoding.EncodeToString(payload)}
	for _, s := range signers {
		id, err := KeyID(s.Public())
		if err != nil {
			return nil, fmt.Errorf("sign manifest: %w", err)
		}
		sig, err := signWith(random, s, preAuthenticated(payload))
		if err != nil {
			return nil, fmt.Errorf("sign manifest with %s: %w", id, err)
		}
		if err := verifyWith(s.Public(), preAuthenticated(payload), sig); err != nil {
			return nil, fmt.Errorf("sign manifest with %s: the signature that the key gave doesn't verify: %w", id, err)
		}
		e.Signatures = append(e.Signatures, signature{id, base64.StdEncoding.EncodeToString(sig)})
	}
	return e.encode()
}

func (e envelope) encode() ([]byte, error) {
	out, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	return append(out, '\n'), nil
}

var errEnvelope = errors.New("not a DSSE envelope in the form that casemate release sign writes")

// parseEnvelope reads an envelope in the one form that Sign writes.
func parseEnvelope(raw []byte) (envelope, []byte, error) {
	var e envelope
	if len(raw) > MaxEnvelopeBytes {
		return e, nil, fmt.Errorf("%d bytes, at most %d are read", len(raw), MaxEnvelopeBytes)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, nil, fmt.Errorf("%w: %w", errEnvelope, err)
	}
	if len(e.Signatures) > maxSignatures {
		return e, nil, fmt.Errorf("%d signatures, at most %d are read", len(e.Signatures), maxSignatures)
	}
	again, err := e.encode()
	if err != nil || !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), bytes.TrimSuffix(raw, []byte("\n"))) {
		return e, nil, errors.Join(errEnvelope, err)
	}
	if e.PayloadType != PayloadType {
		return e, nil, fmt.Errorf("payload type is %.80q, want %s", e.PayloadType, PayloadType)
	}
	payload, err := canonicalBase64(e.Payload)
	if err != nil {
		return e, nil, fmt.Errorf("payload: %w", err)
	}
	return e, payload, nil
}

func canonicalBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if base64.StdEncoding.EncodeToString(b) != s { // line ends are passed over by the decoder
		return nil, errors.New("base64 is not canonical")
	}
	return b, nil
}
