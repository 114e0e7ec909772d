package tdx

import (
	"encoding/hex"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// maxPinned bounds the values of one policy key.
const maxPinned = 1024

// Pin says which values of a field a policy accepts. Its zero value says nothing:
// what that means is the policy's [Absent] rule.
type Pin struct {
	// Any accepts every value, said on purpose: the word "any" in YAML.
	Any bool
	// Values are the accepted values; one of them has to be equal. In YAML one
	// hexadecimal text or a list of them.
	Values [][]byte
}

// OneOf returns a pin on the given values.
func OneOf(values ...[]byte) Pin { return Pin{Values: values} }

// AnyValue returns the pin that accepts every value, said on purpose.
func AnyValue() Pin { return Pin{Any: true} }

func (p *Pin) absent() bool { return !p.Any && p.Values == nil }

// check says whether a value is accepted.
func (p *Pin) check(got []byte) error {
	if p.Any {
		return nil
	}
	for _, want := range p.Values {
		if string(want) == string(got) {
			return nil
		}
	}
	if len(p.Values) == 1 {
		return fmt.Errorf("is %x, expected %x", got, p.Values[0])
	}
	return fmt.Errorf("is %x, which is none of the %d accepted values", got, len(p.Values))
}

// validate checks that every value has the field's size in bytes.
func (p *Pin) validate(name string, size int) error {
	if p.Any && len(p.Values) > 0 {
		return fmt.Errorf("%s says any and names values; say one of the two", name)
	}
	if !p.Any && p.Values != nil && len(p.Values) == 0 {
		return fmt.Errorf("%s is an empty list, which accepts nothing; leave it out or say any", name)
	}
	if len(p.Values) > maxPinned {
		return fmt.Errorf("%s names %d values, at most %d are read", name, len(p.Values), maxPinned)
	}
	for _, v := range p.Values {
		if len(v) != size {
			return fmt.Errorf("%s has a value of %d bytes, expected %d", name, len(v), size)
		}
	}
	return nil
}

// UnmarshalYAML reads the word any, one hexadecimal text, or a list of them.
func (p *Pin) UnmarshalYAML(node *yaml.Node) error {
	*p = Pin{}
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Value == "any" {
			p.Any = true
			return nil
		}
		return p.add(node)
	case yaml.SequenceNode:
		p.Values = [][]byte{}
		for _, item := range node.Content {
			if err := p.add(item); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("line %d: expected hexadecimal text, a list of it, or any", node.Line)
}

func (p *Pin) add(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode || node.Value == "" || node.Tag == "!!null" {
		return fmt.Errorf("line %d: expected hexadecimal text", node.Line)
	}
	v, err := hex.DecodeString(node.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", node.Line, errors.Join(errors.New("not hexadecimal text"), err))
	}
	p.Values = append(p.Values, v)
	return nil
}
