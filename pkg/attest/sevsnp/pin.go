package sevsnp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Pin is what a policy says about a field of bytes: nothing (the zero Pin), that
// anything will do, or that it must be one of some values. In YAML it is a hex
// string, a list of hex strings, or the word "any".
type Pin struct {
	any    bool
	values [][]byte
	line   int
}

// anyWord is the YAML word for Any.
const anyWord = "any"

// maxPinned bounds the values of one Pin.
const maxPinned = 1024

// Any accepts every value, and says so.
func Any() Pin { return Pin{any: true} }

// OneOf accepts the given values. Without values it accepts nothing.
func OneOf(values ...[]byte) Pin {
	p := Pin{values: make([][]byte, 0, len(values))}
	for _, v := range values {
		p.values = append(p.values, append([]byte(nil), v...))
	}
	return p
}

// IsSet tells whether the policy says anything about the field.
func (p Pin) IsSet() bool { return p.any || p.values != nil }

// IsAny tells whether every value is accepted.
func (p Pin) IsAny() bool { return p.any }

// Accepts tells whether a value is accepted; a Pin that says nothing accepts none.
func (p Pin) Accepts(b []byte) bool { return p.IsSet() && p.match(b) }

// match tells whether a value is accepted by a Pin that is set.
func (p Pin) match(b []byte) bool {
	if p.any {
		return true
	}
	for _, v := range p.values {
		if bytes.Equal(v, b) {
			return true
		}
	}
	return false
}

func (p Pin) String() string {
	if p.any {
		return anyWord
	}
	out := make([]string, len(p.values))
	for i, v := range p.values {
		out[i] = hex.EncodeToString(v)
	}
	return strings.Join(out, ", ")
}

// check refuses values that haven't one of the given sizes.
func (p Pin) check(key string, sizes ...int) error {
	if p.values != nil && len(p.values) == 0 {
		return p.errorf("%s: an empty list accepts nothing; leave it out, or write %s", key, anyWord)
	}
	if len(p.values) > maxPinned {
		return p.errorf("%s: %d values, want at most %d", key, len(p.values), maxPinned)
	}
	for _, v := range p.values {
		ok := false
		for _, n := range sizes {
			ok = ok || len(v) == n
		}
		if !ok {
			return p.errorf("%s: value of %d bytes, want %v", key, len(v), sizes)
		}
	}
	return nil
}

func (p Pin) errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if p.line > 0 {
		return fmt.Errorf("line %d: %w", p.line, err)
	}
	return err
}

// UnmarshalYAML reads a hex string, a list of them, or "any".
func (p *Pin) UnmarshalYAML(n *yaml.Node) error {
	*p = Pin{line: n.Line}
	if n.Kind == yaml.ScalarNode && n.Value == anyWord {
		p.any = true
		return nil
	}
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	p.values = make([][]byte, 0, len(items))
	for _, item := range items {
		if item.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: want a hex string", item.Line)
		}
		b, err := hex.DecodeString(item.Value)
		if err != nil || len(b) == 0 {
			return fmt.Errorf("line %d: %q is not hex", item.Line, item.Value)
		}
		p.values = append(p.values, b)
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (p Pin) MarshalYAML() (any, error) {
	switch {
	case p.any:
		return anyWord, nil
	case p.values == nil:
		return nil, nil
	}
	out := make([]string, len(p.values))
	for i, v := range p.values {
		out[i] = hex.EncodeToString(v)
	}
	return out, nil
}

// IsZero lets "omitempty" leave out a Pin that says nothing.
func (p Pin) IsZero() bool { return !p.IsSet() }
