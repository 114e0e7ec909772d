package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// errForm says that a manifest's bytes are not the one form it may have.
var errForm = errors.New("not in the canonical form: members in their order, each once, none unknown, two spaces of indent, one line end at the end")

// Encode writes the manifest in its one form. A manifest that makes no sense is an
// error.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return m.encode()
}

func (m *Manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if b.Len() > MaxBytes {
		return nil, fmt.Errorf("encode manifest: it would have %d bytes, at most %d are read", b.Len(), MaxBytes)
	}
	return b.Bytes(), nil
}

// Parse reads a manifest: exactly what Encode writes, so that no two readers can
// see two manifests in it.
func Parse(raw []byte) (*Manifest, error) {
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("read manifest: %d bytes, at most %d are read", len(raw), MaxBytes)
	}
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	again, err := m.encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, raw) {
		return nil, fmt.Errorf("read manifest: %w", errForm)
	}
	return m, nil
}
