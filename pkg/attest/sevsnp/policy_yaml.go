package sevsnp

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxPolicy bounds a policy file in bytes.
const maxPolicy = 1 << 20

// ParsePolicy reads the body of a policy, what stands under "sev_snp" in a policy
// file, from YAML of at most 1 MiB. Unknown and double keys, aliases, and values of a
// wrong size are refused, with their line.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > maxPolicy {
		return nil, fmt.Errorf("policy has %d bytes, want at most %d", len(b), maxPolicy)
	}
	p := new(Policy)
	if err := yaml.Load(b, p, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return p, nil
}

// UnmarshalYAML reads a policy strictly, however lenient the decoder that calls it is.
func (p *Policy) UnmarshalYAML(n *yaml.Node) error {
	if err := strictMapping(n, reflect.TypeFor[Policy]()); err != nil {
		return err
	}
	type plain Policy
	var out plain
	if err := n.Decode(&out); err != nil {
		return err
	}
	read := Policy(out)
	if err := read.Validate(); err != nil {
		return err
	}
	*p = read
	return nil
}

// strictMapping refuses a mapping with keys that the struct doesn't have, keys that
// stand twice, and anchors or aliases.
func strictMapping(n *yaml.Node, t reflect.Type) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want keys and values", n.Line)
	}
	if err := noAliases(n); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		field, ok := fieldByKey(t, key.Value)
		if !ok {
			return fmt.Errorf("line %d: unknown key %q", key.Line, key.Value)
		}
		if seen[key.Value] {
			return fmt.Errorf("line %d: key %q stands twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if val.Kind == yaml.ScalarNode && val.Tag == "!!null" {
			return fmt.Errorf("line %d: %s has no value; leave the key out, or write %s", key.Line, key.Value, anyWord)
		}
		if field.Type == reflect.TypeFor[*TCB]() && !isAny(val) {
			if err := strictMapping(val, reflect.TypeFor[TCB]()); err != nil {
				return err
			}
			if len(val.Content) == 0 {
				return fmt.Errorf("line %d: %s names no level; name one, or write %s", key.Line, key.Value, anyWord)
			}
		}
		if field.Type.Kind() == reflect.Slice && len(val.Content) == 0 {
			return fmt.Errorf("line %d: %s is empty; leave the key out", key.Line, key.Value)
		}
	}
	return nil
}

func isAny(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Value == anyWord }

// UnmarshalYAML reads levels by name, those left out zero, or "any", a floor of zeros.
func (t *TCB) UnmarshalYAML(n *yaml.Node) error {
	*t = TCB{}
	if isAny(n) {
		return nil
	}
	type plain TCB
	return n.Load((*plain)(t), yaml.WithKnownFields(), yaml.WithUniqueKeys())
}

func fieldByKey(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == key && name != "-" && name != "" {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

// errAlias tells that a policy uses YAML's anchors, which hide what stands where.
var errAlias = errors.New("anchors and aliases are not accepted")

func noAliases(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return fmt.Errorf("line %d: %w", n.Line, errAlias)
	}
	for _, c := range n.Content {
		if err := noAliases(c); err != nil {
			return err
		}
	}
	return nil
}
