package nvidia

import (
	"fmt"

	"go.yaml.in/yaml/v4"
)

const maxPolicySize = 64 << 10

// ParsePolicy reads what stands under the key "nvidia" of a policy file. Unknown
// and repeated keys, empty values, anchors, aliases, tags, merge keys and a second document
// are refused, with the line.
func ParsePolicy(text []byte) (Policy, error) {
	if len(text) > maxPolicySize {
		return Policy{}, fmt.Errorf("nvidia policy of %d bytes is larger than %d", len(text), maxPolicySize)
	}
	var p Policy
	if err := yaml.Load(text, &p, yaml.WithV4Defaults(), yaml.WithUniqueKeys()); err != nil {
		return Policy{}, fmt.Errorf("nvidia policy: %w", err)
	}
	return p, nil
}

// UnmarshalYAML reads a policy as strictly within a larger file as [ParsePolicy]
// does by itself. It leaves PermitUnpinned as it was.
func (p *Policy) UnmarshalYAML(node *yaml.Node) error {
	if err := checkNode(node); err != nil {
		return err
	}
	type plain Policy
	read := plain{PermitUnpinned: p.PermitUnpinned}
	if err := node.Load(&read, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return err
	}
	if err := (*Policy)(&read).Validate(); err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*p = Policy(read)
	return nil
}

// UnmarshalYAML reads a list of versions, or the word any.
func (v *Versions) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode && node.Value == anyWord {
		*v = AnyVersion()
		return nil
	}
	return node.Load((*[]string)(v), yaml.WithKnownFields())
}

// checkNode refuses what a reader of the file could overlook.
func checkNode(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are refused", n.Line)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Errorf("line %d: tags are refused", n.Line)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge":
		return fmt.Errorf("line %d: merge keys are refused", n.Line)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return fmt.Errorf("line %d: the value is empty; leave the key out", n.Line)
	case n.Kind == yaml.ScalarNode && n.Value == "":
		return fmt.Errorf("line %d: the text is empty; leave the key out", n.Line)
	}
	for _, c := range n.Content {
		if err := checkNode(c); err != nil {
			return err
		}
	}
	return nil
}
