package release

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// load reads the one YAML document of data and returns its root mapping, or nil
// after reporting why there is none.
func (p *parser) load(data []byte) *yaml.Node {
	switch {
	case len(data) > MaxFileBytes:
		p.failAt(0, 0, "", "the file has %d bytes; at most %d are read", len(data), MaxFileBytes)
		return nil
	case !utf8.Valid(data):
		line, column := invalidUTF8(data)
		p.failAt(line, column, "", "is not UTF-8 text")
		return nil
	}
	limits := loaderlimits.New(loaderlimits.DepthValue(maxDepth))
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(limits))
	if err != nil {
		p.failAt(0, 0, "", "YAML loader: %v", err)
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); err != nil {
		p.syntax(err)
		return nil
	}
	if err := loader.Load(&second); err == nil {
		p.fail(&second, "", "a second document begins here; a config file holds exactly one")
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
	}
	return p.rootMapping(&doc)
}

func (p *parser) rootMapping(doc *yaml.Node) *yaml.Node {
	if len(doc.Content) != 1 {
		p.failAt(0, 0, "", "the file is empty")
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		p.fail(root, "", "must be a mapping of keys such as containers and shim, not %s", kindName(root))
		return nil
	}
	return root
}

// syntax reports an error of the YAML loader with its place.
func (p *parser) syntax(err error) {
	if errors.Is(err, io.EOF) {
		p.failAt(0, 0, "", "the file is empty")
		return
	}
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		p.failAt(0, 0, "", "not valid YAML: %s", clip(err.Error()))
		return
	}
	text := at.Message
	if at.ContextMsg != "" {
		text += " (" + at.ContextMsg + ")"
	}
	p.failAt(at.Mark.Line, at.Mark.Column, "", "not valid YAML: %s", clip(text))
}

// survey walks the whole tree once and refuses what no key may have: aliases,
// anchors, tags, merge keys, duplicate keys, huge scalars, too many nodes. It
// returns false when the tree is too large to look at any further.
func (p *parser) survey(root *yaml.Node) bool {
	nodes := 0
	var walk func(*yaml.Node) bool
	walk = func(n *yaml.Node) bool {
		if nodes++; nodes > maxNodes {
			p.fail(n, "", "the file has more than %d values", maxNodes)
			return false
		}
		p.surveyNode(n)
		if n.Kind == yaml.MappingNode {
			p.surveyKeys(n)
		}
		for _, c := range n.Content {
			if !walk(c) {
				return false
			}
		}
		return true
	}
	return walk(root)
}

func (p *parser) surveyNode(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		p.fail(n, "", "the alias *%s is not supported: write the value out", clip(n.Value))
	case n.Anchor != "":
		p.fail(n, "", "the anchor &%s is not supported: aliases are refused, so nothing can use it", clip(n.Anchor))
	case n.Style&yaml.TaggedStyle != 0:
		p.fail(n, "", "the tag %s is not supported: write the plain value", clip(n.Tag))
	case len(n.Value) > maxScalar:
		p.fail(n, "", "the value has %d bytes; at most %d are allowed", len(n.Value), maxScalar)
	}
}

func (p *parser) surveyKeys(n *yaml.Node) {
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode:
			p.fail(key, "", "a key must be plain text, not %s", kindName(key))
		case isMerge(key):
			p.fail(key, "", "the merge key << is not supported: write the keys out")
		case first[key.Value] != 0:
			p.fail(key, "", "the key %s is given twice (first on line %d)", quote(key.Value), first[key.Value])
		default:
			first[key.Value] = key.Line
		}
	}
}

func isMerge(key *yaml.Node) bool { return key.ShortTag() == "!!merge" }

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "nothing"
	}
	return "a single value"
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// invalidUTF8 is the line and column of the first byte that is not UTF-8.
func invalidUTF8(data []byte) (line, column int) {
	line, column = 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return line, column
}
