package nvidia

import (
	"errors"
	"fmt"
)

const (
	maxDocument  = 1 << 20 // 8 GPUs and 4 switches take 144 KiB
	maxJSONDepth = 8
	// maxMembers bounds an object: a GPU's has ten. To see that none is there twice,
	// each is compared with all before it.
	maxMembers = 16
	// maxItems bounds an array, of devices or of the certificates of one.
	maxItems = 64
)

// value is a parsed JSON value of the subset that evidence documents use: objects,
// arrays, strings and whole numbers, in ASCII without escapes. Each thing has
// one spelling apart from white space, so that a changed byte is a changed value.
type value struct {
	kind    byte // '{', '[', '"' or '0'
	text    string
	members []member
	items   []value
}

type member struct {
	name string
	value
}

// scanner is a recursive-descent parser of that subset.
type scanner struct {
	in  []byte
	pos int
}

// parseJSON parses a document that fills in.
func parseJSON(in []byte) (value, error) {
	if len(in) > maxDocument {
		return value{}, fmt.Errorf("document of %d bytes is larger than %d", len(in), maxDocument)
	}
	s := scanner{in: in}
	v, err := s.value(0)
	if err != nil {
		return value{}, fmt.Errorf("byte %d: %w", s.pos, err)
	}
	if s.next() != 0 || s.pos < len(in) {
		return value{}, fmt.Errorf("byte %d: something follows the document", s.pos)
	}
	return v, nil
}

// next skips white space and returns the byte after it, which it leaves where it
// is; 0 at the end.
func (s *scanner) next() byte {
	for ; s.pos < len(s.in); s.pos++ {
		switch c := s.in[s.pos]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

// accept skips white space and c, and tells whether c was there.
func (s *scanner) accept(c byte) bool {
	if s.next() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) value(depth int) (value, error) {
	if depth > maxJSONDepth {
		return value{}, errors.New("too deeply nested")
	}
	switch c := s.next(); {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		text, err := s.str()
		return value{kind: '"', text: text}, err
	case c >= '0' && c <= '9':
		return s.number()
	}
	return value{}, errors.New("want an object, an array, a string or a whole number")
}

func (s *scanner) object(depth int) (value, error) {
	v := value{kind: '{'}
	s.pos++
	if s.accept('}') {
		return v, nil
	}
	for {
		if s.next() != '"' {
			return v, errors.New("want a member's name")
		}
		name, err := s.str()
		if err != nil {
			return v, err
		}
		if v.get(name) != nil {
			return v, fmt.Errorf("member %.32q occurs twice", name)
		}
		if len(v.members) == maxMembers {
			return v, fmt.Errorf("an object has more than %d members", maxMembers)
		}
		if !s.accept(':') {
			return v, errors.New("want a colon")
		}
		m, err := s.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.members = append(v.members, member{name, m})
		if s.accept('}') {
			return v, nil
		}
		if !s.accept(',') {
			return v, errors.New("want a comma or the object's end")
		}
	}
}

func (s *scanner) array(depth int) (value, error) {
	v := value{kind: '['}
	s.pos++
	if s.accept(']') {
		return v, nil
	}
	for {
		if len(v.items) == maxItems {
			return v, fmt.Errorf("an array has more than %d items", maxItems)
		}
		item, err := s.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.items = append(v.items, item)
		if s.accept(']') {
			return v, nil
		}
		if !s.accept(',') {
			return v, errors.New("want a comma or the array's end")
		}
	}
}

// str reads a string of printable ASCII without escapes.
func (s *scanner) str() (string, error) {
	s.pos++
	for start := s.pos; s.pos < len(s.in); s.pos++ {
		switch c := s.in[s.pos]; {
		case c == '"':
			s.pos++
			return string(s.in[start : s.pos-1]), nil
		case c < 0x20 || c > 0x7e || c == '\\':
			return "", errors.New("strings hold printable ASCII without escapes")
		}
	}
	return "", errors.New("a string does not end")
}

// number reads a whole number of at most nine digits, without leading zeros.
func (s *scanner) number() (value, error) {
	start := s.pos
	for s.pos < len(s.in) && s.in[s.pos] >= '0' && s.in[s.pos] <= '9' {
		s.pos++
	}
	text := string(s.in[start:s.pos])
	if len(text) > 9 || len(text) > 1 && text[0] == '0' {
		return value{}, fmt.Errorf("number %.16s is too long or begins with 0", text)
	}
	return value{kind: '0', text: text}, nil
}

// get returns a member of an object, or nil.
func (v *value) get(name string) *value {
	for i := range v.members {
		if v.members[i].name == name {
			return &v.members[i].value
		}
	}
	return nil
}
