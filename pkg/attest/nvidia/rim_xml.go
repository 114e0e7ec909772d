package nvidia

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"
)

const (
	maxRIMSize  = 256 << 10 // real ones have 20 to 26 KiB
	maxRIMDepth = 7         // real ones have 6
	// maxAttributes bounds an element's: a measurement has seven beside its hashes. Each
	// is compared with all before it.
	maxAttributes = maxAlternatives + 32
)

// Namespaces of a RIM.
const (
	nsSWID   = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	nsTCG    = "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/"
	nsSHA384 = "http://www.w3.org/2001/04/xmlenc#sha384"
	nsDSig   = "http://www.w3.org/2000/09/xmldsig#"
)

// xmlDeclaration may begin a RIM. Canonicalization leaves it out, so that it is
// not signed: only this spelling is accepted.
var xmlDeclaration = []byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")

// parseXML reads the small part of XML that RIMs are made of: elements,
// attributes and text. What makes XML ambiguous is refused: document types,
// entities, references, comments, CDATA, processing instructions, repeated
// attributes, xml: attributes, odd names, and bytes beyond printable ASCII.
func parseXML(raw []byte) (*etree.Element, error) {
	if len(raw) > maxRIMSize {
		return nil, fmt.Errorf("%d bytes are more than %d", len(raw), maxRIMSize)
	}
	body := bytes.TrimPrefix(raw, xmlDeclaration)
	if err := checkXMLBytes(body); err != nil {
		return nil, err
	}
	doc := etree.NewDocument()
	doc.ReadSettings = etree.ReadSettings{PreserveDuplicateAttrs: true, MaxDepth: maxRIMDepth}
	if err := doc.ReadFromBytes(body); err != nil {
		return nil, fmt.Errorf("not well-formed XML, or nested more than %d deep: %w", maxRIMDepth, err)
	}
	root := doc.Root()
	if root == nil {
		return nil, errors.New("no element")
	}
	for _, t := range doc.Child {
		if text, ok := t.(*etree.CharData); t != etree.Token(root) && (!ok || strings.Trim(text.Data, "\n") != "") {
			return nil, errors.New("something stands beside the root element")
		}
	}
	return root, checkXMLNames(root)
}

func checkXMLBytes(body []byte) error {
	if len(body) < 2 || body[0] != '<' || !isName(string(body[1:2])) {
		return errors.New("the document does not begin with its root element")
	}
	for i, c := range body {
		if c == '<' && i+1 < len(body) && (body[i+1] == '!' || body[i+1] == '?') {
			return errors.New("document types, comments, CDATA and processing instructions are refused")
		}
		if c == '&' {
			return errors.New("entities and character references are refused")
		}
		if c != '\n' && (c < 0x20 || c > 0x7e) {
			return fmt.Errorf("byte %#02x at %d is not printable ASCII", c, i)
		}
	}
	return nil
}

// checkXMLNames checks the names of an element and all beneath it.
func checkXMLNames(el *etree.Element) error {
	if !isName(el.Tag) || el.Space != "" && !isName(el.Space) {
		return fmt.Errorf("element name %.40q is refused", el.FullTag())
	}
	if len(el.Attr) > maxAttributes {
		return fmt.Errorf("element %.40q has %d attributes, more than %d", el.FullTag(), len(el.Attr), maxAttributes)
	}
	for i, a := range el.Attr {
		if !isName(a.Key) || a.Space != "" && !isName(a.Space) || a.Space == "xml" || a.Key == "xml" {
			return fmt.Errorf("attribute name %.40q is refused", a.FullKey())
		}
		if strings.ContainsAny(a.Value, "\n\"<>") {
			return fmt.Errorf("attribute %.40q has a line break, quote or bracket in it", a.FullKey())
		}
		for _, b := range el.Attr[:i] {
			if a.Key == b.Key && a.Space == b.Space {
				return fmt.Errorf("attribute %.40q occurs twice", a.FullKey())
			}
		}
	}
	for _, t := range el.Child {
		switch t := t.(type) {
		case *etree.Element:
			if err := checkXMLNames(t); err != nil {
				return err
			}
		case *etree.CharData:
		default:
			return errors.New("only elements and text are accepted")
		}
	}
	return nil
}

func isName(s string) bool {
	if s == "" || len(s) > 64 || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return true
}

// is tells whether an element has that namespace and local name.
func is(el *etree.Element, ns, tag string) bool {
	return el.Tag == tag && el.NamespaceURI() == ns
}

// attr returns an attribute by namespace ("" for none) and name.
func attr(el *etree.Element, ns, key string) (string, bool) {
	for i := range el.Attr {
		a := &el.Attr[i]
		if a.Key != key || a.Space == "xmlns" {
			continue
		}
		if a.Space == "" && ns == "" || a.Space != "" && a.NamespaceURI() == ns {
			return a.Value, true
		}
	}
	return "", false
}

// onlyAttrs checks that an element has exactly these attributes, without
// namespaces, besides namespace declarations.
func onlyAttrs(el *etree.Element, want ...string) error {
	n := 0
	for _, a := range el.Attr {
		if a.Space == "xmlns" || a.Space == "" && a.Key == "xmlns" {
			continue
		}
		n++
	}
	for _, key := range want {
		if _, ok := attr(el, "", key); !ok {
			return fmt.Errorf("%s has no attribute %s", el.Tag, key)
		}
	}
	if n != len(want) {
		return fmt.Errorf("%s has %d attributes, want %d", el.Tag, n, len(want))
	}
	return nil
}

// children returns an element's elements, between which nothing but white space
// may stand.
func children(el *etree.Element) ([]*etree.Element, error) {
	var out []*etree.Element
	for _, t := range el.Child {
		switch t := t.(type) {
		case *etree.Element:
			out = append(out, t)
		case *etree.CharData:
			if strings.Trim(t.Data, " \n") != "" {
				return nil, fmt.Errorf("%s has text between its elements", el.Tag)
			}
		}
	}
	return out, nil
}

// textOf returns the text of an element without attributes or elements.
func textOf(el *etree.Element) (string, error) {
	if len(el.Attr) != 0 {
		return "", fmt.Errorf("%s has attributes", el.Tag)
	}
	var b strings.Builder
	for _, t := range el.Child {
		text, ok := t.(*etree.CharData)
		if !ok {
			return "", fmt.Errorf("%s has an element in it", el.Tag)
		}
		b.WriteString(text.Data)
	}
	return b.String(), nil
}
