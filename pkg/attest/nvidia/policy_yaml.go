package nvidia

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"
)

const maxPolicySize = 64 << 10

// ParsePolicy reads a policy file that has the one key "nvidia". Unknown and
// repeated keys, empty values, anchors, aliases, tags and a second document are
// refused, with the line.
func ParsePolicy(text []byte) (Policy, error) {
	if len(text) > maxPolicySize {
		return Policy{}, fmt.Errorf("policy of %d bytes is larger than %d", len(text), maxPolicySize)
	}
	var root yaml.Node
	if err := yaml.Load(text, &root, yaml.WithV4Defaults()); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	if err := checkNode(&root); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	var file struct {
		NVIDIA *Policy `yaml:"nvidia"`
	}
	if err := yaml.Load(text, &file, yaml.WithV4Defaults(), yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	if file.NVIDIA == nil {
		return Policy{}, errors.New("policy: the key nvidia is missing")
	}
	if err := file.NVIDIA.Validate(); err != nil {
		return Policy{}, fmt.Errorf("policy: nvidia: %w", err)
	}
	return *file.NVIDIA, nil
}

// checkNode refuses what a reader of the file could overlook.
func checkNode(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are refused", n.Line)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Errorf("line %d: tags are refused", n.Line)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return fmt.Errorf("line %d: the value is empty; leave the key out to compare nothing", n.Line)
	case n.Kind == yaml.ScalarNode && n.Value == "":
		return fmt.Errorf("line %d: the text is empty; leave the key out to compare nothing", n.Line)
	}
	for _, c := range n.Content {
		if err := checkNode(c); err != nil {
			return err
		}
	}
	return nil
}
