package release

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/casemate-dev/casemate/pkg/release/nearest"
)

// value is a node of the file with its place in the spec. Its methods report
// what is wrong and say whether there is anything to use.
type value struct {
	p    *parser
	node *yaml.Node
	path string
}

// keys are the keys that a mapping may have, each with what reads its value.
type keys map[string]func(value)

func (v value) fail(format string, args ...any) { v.p.fail(v.node, v.path, format, args...) }
func (v value) warn(format string, args ...any) { v.p.warn(v.node, v.path, format, args...) }

// empty says that nothing was written after the key.
func (v value) empty() bool { return isNull(v.node) }

// aliased says that survey has refused the value already.
func (v value) aliased() bool { return v.node.Kind == yaml.AliasNode }

// has says whether the mapping has this key.
func (v value) has(key string) bool { return v.p.at[childPath(v.path, key)] != nil }

// require reports each of the keys that the mapping does not have; of something
// that is no mapping, pairs has said so.
func (v value) require(names ...string) {
	if v.node.Kind != yaml.MappingNode && !v.empty() {
		return
	}
	for _, name := range names {
		if !v.has(name) {
			v.p.fail(v.node, childPath(v.path, name), "is required")
		}
	}
}

// pairs calls each with every key of a mapping; nothing written is an empty
// mapping.
func (v value) pairs(each func(key *yaml.Node, val value)) {
	if v.empty() || v.aliased() {
		return
	}
	if v.node.Kind != yaml.MappingNode {
		v.fail("must be a mapping, not %s", kindName(v.node))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i]
		if key.Kind != yaml.ScalarNode || isMerge(key) || seen[key.Value] {
			continue // survey has refused it
		}
		seen[key.Value] = true
		path := childPath(v.path, key.Value)
		v.p.at[path] = key
		each(key, value{v.p, v.node.Content[i+1], path})
	}
}

// object reads a mapping with known keys.
func (v value) object(known keys) {
	v.pairs(func(key *yaml.Node, val value) {
		if read := known[key.Value]; read != nil {
			read(val)
			return
		}
		v.p.fail(key, val.path, "%s", unknownKey(key.Value, known))
	})
}

func unknownKey(key string, known keys) string {
	if hint := foreignKeys[key]; hint != "" {
		return "unknown key: " + hint
	}
	if meant := nearest.Word(key, slices.Sorted(maps.Keys(known))); meant != "" {
		return fmt.Sprintf("unknown key; did you mean %s?", meant)
	}
	return "unknown key"
}

// list calls each with every entry of a list; nothing written is an empty list.
func (v value) list(limit int, each func(value)) {
	if v.empty() || v.aliased() {
		return
	}
	if v.node.Kind != yaml.SequenceNode {
		v.fail("must be a list, not %s", kindName(v.node))
		return
	}
	if len(v.node.Content) > limit {
		v.fail("has %d entries; at most %d are allowed", len(v.node.Content), limit)
		return
	}
	for i, n := range v.node.Content {
		entry := value{v.p, n, v.path + "[" + strconv.Itoa(i) + "]"}
		v.p.at[entry.path] = n
		each(entry)
	}
}

// text is the value as written.
func (v value) text() (string, bool) {
	switch {
	case v.aliased():
		return "", false
	case v.empty():
		v.fail("has no value")
		return "", false
	case v.node.Kind != yaml.ScalarNode:
		v.fail("must be a single value, not %s", kindName(v.node))
		return "", false
	}
	return v.node.Value, true
}

var plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)

// integer is a whole decimal number between least and most.
func (v value) integer(least, most int) (int, bool) {
	text, ok := v.text()
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || !plainInteger.MatchString(text) {
		v.fail("must be a whole number, not %s", quote(text))
		return 0, false
	}
	if n < least || n > most {
		v.fail("must be between %d and %d, not %d", least, most, n)
		return 0, false
	}
	return n, true
}

// boolean is true or false.
func (v value) boolean() (bool, bool) {
	text, ok := v.text()
	if !ok {
		return false, false
	}
	if v.node.ShortTag() != "!!bool" || text != "true" && text != "false" {
		v.fail("must be true or false, not %s", quote(text))
		return false, false
	}
	return text == "true", true
}

// into stores what read gives.
func into[T any](dst *T, read func(value) (T, bool)) func(value) {
	return func(v value) {
		if x, ok := read(v); ok {
			*dst = x
		}
	}
}

// parsed reads a value by a pure function of its text.
func parsed[T any](dst *T, parse func(string) (T, error)) func(value) {
	return func(v value) {
		if x, ok := parseText(v, parse); ok {
			*dst = x
		}
	}
}

func parseText[T any](v value, parse func(string) (T, error)) (x T, ok bool) {
	text, ok := v.text()
	if !ok {
		return x, false
	}
	x, err := parse(text)
	if err != nil {
		v.fail("%v", err)
		return x, false
	}
	return x, true
}

// between reads a whole number.
func between(least, most int) func(value) (int, bool) {
	return func(v value) (int, bool) { return v.integer(least, most) }
}

// texts reads a list of values as written.
func texts(dst *[]string) func(value) {
	return each(dst, func(s string) (string, error) { return s, nil })
}

// each reads a list by a pure function of every entry's text.
func each[T any](dst *[]T, parse func(string) (T, error)) func(value) {
	return func(v value) {
		list := []T{}
		v.list(maxList, func(e value) {
			if x, ok := parseText(e, parse); ok {
				list = append(list, x)
			}
		})
		*dst = list
	}
}

// distinct reads a list like each and refuses an entry that was there before.
func distinct(dst *[]string, parse func(string) (string, error)) func(value) {
	return func(v value) {
		seen := map[string]bool{}
		v.list(maxList, func(e value) {
			text, ok := parseText(e, parse)
			switch {
			case !ok:
			case seen[text]:
				e.fail("%s is listed twice", quote(text))
			default:
				seen[text] = true
				*dst = append(*dst, text)
			}
		})
	}
}
