package policy

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// MaxFileBytes is the largest policy file that is read.
const MaxFileBytes = 1 << 20

// sections are the keys of a policy file.
var sections = map[string]bool{"sev_snp": true, "tdx": true, "nvidia": true, "simulated": true, "collateral": true}

// errEmpty says that a file pins nothing for anybody.
var errEmpty = errors.New("it has none of the keys sev_snp, tdx and nvidia, so it accepts nothing")

// Parse reads a policy file: one YAML document of at most MaxFileBytes. Unknown
// and repeated keys, keys without a value, anchors, aliases, tags, values of a
// wrong size and a file without any vendor's section are refused, mostly with the
// line.
func Parse(text []byte) (*Policy, error) {
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("read policy: %d bytes, at most %d are read", len(text), MaxFileBytes)
	}
	p := &Policy{}
	// Load refuses a second document and, here, what follows the first.
	if err := yaml.Load(text, p, yaml.WithV4Defaults(), yaml.WithUniqueKeys()); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if len(p.Sections()) == 0 {
		return nil, fmt.Errorf("read policy: %w", errEmpty)
	}
	return p, nil
}

// UnmarshalYAML reads a policy strictly, however lenient the decoder that calls it
// is, so that it can stand within a larger file.
func (p *Policy) UnmarshalYAML(node *yaml.Node) error {
	if err := checkTop(node); err != nil {
		return err
	}
	type plain Policy
	var read plain
	if err := node.Load(&read, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return err
	}
	out := Policy(read)
	if err := out.Validate(); err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*p = out
	return nil
}

// checkTop refuses what a reader of the file could overlook. Each section checks
// its own keys.
func checkTop(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want the keys sev_snp, tdx, nvidia, simulated or collateral", node.Line)
	}
	if err := checkNode(node); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if !sections[key.Value] {
			return fmt.Errorf("line %d: unknown key %.80q, want sev_snp, tdx, nvidia, simulated or collateral", key.Line, key.Value)
		}
		if seen[key.Value] {
			return fmt.Errorf("line %d: key %s stands twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if value.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: %s has no keys; write {} for none, or leave it out", key.Line, key.Value)
		}
	}
	return nil
}

func checkNode(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are refused", n.Line)
	case n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!merge" || n.Value == "<<"):
		return fmt.Errorf("line %d: merge keys are refused", n.Line)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Errorf("line %d: tags are refused", n.Line)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return fmt.Errorf("line %d: a key has no value; leave it out, or say any", n.Line)
	}
	for _, c := range n.Content {
		if err := checkNode(c); err != nil {
			return err
		}
	}
	return nil
}
