package tdx

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxDocumentSize bounds a TCB info or QE identity; Intel's are below 10 KiB.
const maxDocumentSize = 256 << 10

// openEnvelope reads what the PCS sends, {"<member>": {…}, "signature": "<hex>"},
// and returns the signed bytes exactly as they stand, and the signature.
// Anything besides these two members is an error.
func openEnvelope(doc []byte, member string) (body, signature []byte, err error) {
	if len(doc) > maxDocumentSize {
		return nil, nil, fmt.Errorf("%d bytes, at most %d are read", len(doc), maxDocumentSize)
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, errors.New("not a JSON object")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("read JSON: %w", err)
		}
		name, _ := t.(string)
		if _, dup := members[name]; dup || (name != member && name != "signature") {
			return nil, nil, fmt.Errorf("unexpected member %q", name)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, nil, fmt.Errorf("read JSON: %w", err)
		}
		members[name] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, nil, errors.New("bytes after the JSON object")
	}
	if len(members) != 2 {
		return nil, nil, fmt.Errorf("expected the members %q and \"signature\"", member)
	}
	signature, err = readSignature(members["signature"])
	return members[member], signature, err
}

// readSignature reads 128 lower-case hexadecimal digits in quotes, as Intel
// writes them.
func readSignature(raw []byte) ([]byte, error) {
	if len(raw) != 2+2*signatureSize || raw[0] != '"' {
		return nil, fmt.Errorf("the signature is not a text of %d hexadecimal digits", 2*signatureSize)
	}
	digits := raw[1 : len(raw)-1]
	out := make([]byte, signatureSize)
	if _, err := hex.Decode(out, digits); err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	if !bytes.Equal(bytes.ToLower(digits), digits) {
		return nil, errors.New("the signature is not in lower-case hexadecimal digits")
	}
	return out, nil
}
