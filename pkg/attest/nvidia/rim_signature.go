package nvidia

import (
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// Algorithms of a RIM's signature; no others are accepted.
const (
	algC14N11      = "http://www.w3.org/2006/12/xml-c14n11"
	algEnveloped   = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	algECDSASHA384 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
	algSHA384      = "http://www.w3.org/2001/04/xmldsig-more#sha384"
)

// xmlSignature is the one signature of a RIM, taken apart.
type xmlSignature struct {
	element    *etree.Element
	signedInfo *etree.Element
	digest     []byte
	value      []byte
	chain      [][]byte
}

// findSignature finds the document's only Signature element, by that name in any
// namespace, and takes it apart. It has to be the root's last element.
func findSignature(root *etree.Element) (*xmlSignature, error) {
	if n := countTag(root, "Signature"); n != 1 {
		return nil, fmt.Errorf("the document has %d signatures, want exactly one", n)
	}
	elements, err := children(root)
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 || !is(elements[len(elements)-1], nsDSig, "Signature") {
		return nil, errors.New("the signature is not the root's last element")
	}
	sig := &xmlSignature{element: elements[len(elements)-1]}
	if err := sig.parse(); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return sig, nil
}

func countTag(el *etree.Element, tag string) int {
	n := 0
	if el.Tag == tag {
		n++
	}
	for _, c := range el.ChildElements() {
		n += countTag(c, tag)
	}
	return n
}

// exactly returns an element's elements if they have these names, in this order.
func exactly(el *etree.Element, tags ...string) ([]*etree.Element, error) {
	elements, err := children(el)
	if err != nil {
		return nil, err
	}
	ok := len(elements) == len(tags)
	for i := 0; ok && i < len(tags); i++ {
		ok = is(elements[i], nsDSig, tags[i])
	}
	if !ok {
		return nil, fmt.Errorf("%s does not hold exactly %s", el.Tag, strings.Join(tags, ", "))
	}
	return elements, nil
}

func (s *xmlSignature) parse() error {
	if err := onlyAttrs(s.element); err != nil {
		return err
	}
	parts, err := exactly(s.element, "SignedInfo", "SignatureValue", "KeyInfo")
	if err != nil {
		return err
	}
	s.signedInfo = parts[0]
	if err := s.parseSignedInfo(); err != nil {
		return err
	}
	if s.value, err = base64Text(parts[1], signatureSize); err != nil {
		return err
	}
	return s.parseKeyInfo(parts[2])
}

// parseSignedInfo accepts one reference, to the whole document, with the two
// transforms that RIMs have.
func (s *xmlSignature) parseSignedInfo() error {
	if err := onlyAttrs(s.signedInfo); err != nil {
		return err
	}
	parts, err := exactly(s.signedInfo, "CanonicalizationMethod", "SignatureMethod", "Reference")
	if err != nil {
		return err
	}
	if err := errors.Join(algorithm(parts[0], algC14N11), algorithm(parts[1], algECDSASHA384)); err != nil {
		return err
	}
	ref := parts[2]
	if err := onlyAttrs(ref, "URI"); err != nil {
		return err
	}
	if uri, _ := attr(ref, "", "URI"); uri != "" {
		return fmt.Errorf("it refers to %.64q, not to the whole document", uri)
	}
	if parts, err = exactly(ref, "Transforms", "DigestMethod", "DigestValue"); err != nil {
		return err
	}
	transforms, err := exactly(parts[0], "Transform", "Transform")
	if err != nil {
		return err
	}
	err = errors.Join(onlyAttrs(parts[0]), algorithm(transforms[0], algEnveloped),
		algorithm(transforms[1], algC14N11), algorithm(parts[1], algSHA384))
	if err != nil {
		return err
	}
	s.digest, err = base64Text(parts[2], sha512.Size384)
	return err
}

// algorithm checks an empty element that names an algorithm.
func algorithm(el *etree.Element, want string) error {
	if err := onlyAttrs(el, "Algorithm"); err != nil {
		return err
	}
	if got, _ := attr(el, "", "Algorithm"); got != want || len(el.Child) != 0 {
		return fmt.Errorf("%s is %.80q, want %s and nothing in it", el.Tag, got, want)
	}
	return nil
}

// checkDigest compares the digest in the signature with that of the root element
// without the signature (the enveloped-signature transform), canonicalized.
func (s *xmlSignature) checkDigest(root *etree.Element) error {
	bare := root.Copy()
	bare.RemoveChildAt(s.element.Index())
	canonical, err := dsig.MakeC14N11Canonicalizer().Canonicalize(bare)
	if err != nil {
		return fmt.Errorf("canonicalize the document: %w", err)
	}
	sum := sha512.Sum384(canonical)
	if subtle.ConstantTimeCompare(sum[:], s.digest) != 1 {
		return errors.New("the document's digest is not the one that was signed")
	}
	return nil
}

// signedDigest returns the digest that the signature value is over: that of
// SignedInfo, canonicalized with the namespaces it has in the document.
func (s *xmlSignature) signedDigest() ([]byte, error) {
	info := s.signedInfo.Copy()
	for up := s.signedInfo.Parent(); up != nil; up = up.Parent() {
		for _, a := range up.Attr {
			isNS := a.Space == "xmlns" || a.Space == "" && a.Key == "xmlns"
			if isNS && info.SelectAttr(a.FullKey()) == nil {
				info.CreateAttr(a.FullKey(), a.Value)
			}
		}
	}
	canonical, err := dsig.MakeC14N11Canonicalizer().Canonicalize(info)
	if err != nil {
		return nil, fmt.Errorf("canonicalize SignedInfo: %w", err)
	}
	sum := sha512.Sum384(canonical)
	return sum[:], nil
}
