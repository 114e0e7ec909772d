package nvidia

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/beevik/etree"
)

const (
	rimChainLength  = 4 // signer, L3, product authority, root
	maxGolden       = 256
	maxAlternatives = 64
)

// Golden is what a RIM says of one measurement.
type Golden struct {
	// Index counts from 0.
	Index int
	// Active is false for indexes that the RIM names only to leave them open.
	Active bool
	// Values are the measurements that are right; any one of them will do.
	Values [][]byte
}

// RIM is a reference integrity manifest: the measurements that one version of a
// driver or a VBIOS should have. It is only believed after its signature.
type RIM struct {
	// Version is the driver's or VBIOS' version (colloquialVersion).
	Version string
	// Product is the chip, such as "GH100"; Edition is "GPU" or "SWITCH".
	Product, Edition string
	// Golden are the measurements, in the document's order, each index at most once.
	Golden []Golden

	root      *etree.Element
	signature *xmlSignature
	certs     []*x509.Certificate
	anchor    digest
	valid     window
}

// ParseRIM parses a RIM document without checking who signed it.
func ParseRIM(raw []byte) (*RIM, error) {
	root, err := parseXML(raw)
	if err != nil {
		return nil, fmt.Errorf("RIM: %w", err)
	}
	if !is(root, nsSWID, "SoftwareIdentity") {
		return nil, fmt.Errorf("RIM: the root element %.40q is not a SoftwareIdentity", root.FullTag())
	}
	r := &RIM{root: root}
	if r.signature, err = findSignature(root); err != nil {
		return nil, fmt.Errorf("RIM: %w", err)
	}
	if err := r.parseBody(); err != nil {
		return nil, fmt.Errorf("RIM: %w", err)
	}
	return r, nil
}

// parseBody reads Meta and Payload, each of which has to be there exactly once.
func (r *RIM) parseBody() error {
	elements, err := children(r.root)
	if err != nil {
		return err
	}
	metas, payloads := 0, 0
	for _, el := range elements[:len(elements)-1] {
		switch {
		case is(el, nsSWID, "Entity"):
		case is(el, nsSWID, "Meta"):
			metas++
			err = r.parseMeta(el)
		case is(el, nsSWID, "Payload"):
			payloads++
			err = r.parsePayload(el)
		default:
			err = fmt.Errorf("element %.40q is not known in a RIM", el.FullTag())
		}
		if err != nil {
			return err
		}
	}
	if metas != 1 || payloads != 1 {
		return fmt.Errorf("%d Meta and %d Payload elements, want one of each", metas, payloads)
	}
	return nil
}

func (r *RIM) parseMeta(el *etree.Element) error {
	for key, to := range map[string]*string{"colloquialVersion": &r.Version, "product": &r.Product, "edition": &r.Edition} {
		value, ok := attr(el, "", key)
		if !ok || value == "" {
			return fmt.Errorf("Meta has no %s", key)
		}
		*to = value
	}
	return nil
}

func (r *RIM) parsePayload(el *etree.Element) error {
	elements, err := children(el)
	if err != nil {
		return err
	}
	if len(elements) == 0 || len(elements) > maxGolden {
		return fmt.Errorf("the payload has %d measurements, want 1 to %d", len(elements), maxGolden)
	}
	seen := map[int]bool{}
	for i, res := range elements {
		g, err := parseGolden(res)
		if err != nil {
			return fmt.Errorf("measurement %d: %w", i, err)
		}
		if seen[g.Index] {
			return fmt.Errorf("index %d occurs twice", g.Index)
		}
		seen[g.Index] = true
		r.Golden = append(r.Golden, g)
	}
	return nil
}

// parseGolden reads a Resource of the type Measurement. Another type could hold
// a demand that would go unchecked, and is refused.
func parseGolden(el *etree.Element) (Golden, error) {
	var g Golden
	kind, _ := attr(el, "", "type")
	if !is(el, nsSWID, "Resource") || kind != "Measurement" {
		return g, fmt.Errorf("%s of type %.40q is not known", el.Tag, kind)
	}
	active, _ := attr(el, "", "active")
	if active != "True" && active != "False" {
		return g, fmt.Errorf("active is %.16q, neither True nor False", active)
	}
	g.Active = active == "True"
	if size, _ := attr(el, "", "size"); size != strconv.Itoa(measurementSize) {
		return g, fmt.Errorf("size is %.16q, want %d", size, measurementSize)
	}
	index, err := number(el, "index", maxGolden-1)
	if err != nil {
		return g, err
	}
	g.Index = index
	g.Values, err = parseValues(el)
	return g, err
}

// parseValues reads Hash0, Hash1 … of which there are as many as alternatives.
func parseValues(el *etree.Element) ([][]byte, error) {
	n, err := number(el, "alternatives", maxAlternatives)
	if err != nil {
		return nil, err
	}
	hashes := 0
	for i := range el.Attr {
		if el.Attr[i].Space != "" && el.Attr[i].NamespaceURI() == nsSHA384 {
			hashes++
		}
	}
	if n == 0 || hashes != n {
		return nil, fmt.Errorf("%d hashes for %d alternatives", hashes, n)
	}
	values := make([][]byte, n)
	for i := range values {
		text, ok := attr(el, nsSHA384, "Hash"+strconv.Itoa(i))
		if !ok {
			return nil, fmt.Errorf("Hash%d is missing", i)
		}
		if values[i], err = hex.DecodeString(text); err != nil || len(values[i]) != measurementSize {
			return nil, fmt.Errorf("Hash%d is not a SHA-384 in hex", i)
		}
	}
	return values, nil
}

func number(el *etree.Element, key string, max int) (int, error) {
	text, _ := attr(el, "", key)
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > max || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%s is %.16q, not a number up to %d", key, text, max)
	}
	return n, nil
}

// verifyRIMChain checks the signer's certificates, apart from the time.
func (r *RIM) verifyChain(roots []*x509.Certificate) error {
	certs, err := parseChain(r.signature.chain)
	if err != nil {
		return err
	}
	if err := verifyChain(certs, rimChainLength, roots); err != nil {
		return err
	}
	r.certs, r.valid = certs, validity(certs)
	r.anchor = digestOf(certs[rimChainLength-1].Raw)
	return nil
}

// verifySignature checks the XML signature with the key of the verified chain.
func (r *RIM) verifySignature() error {
	if r.certs == nil {
		return errors.New("the signer's certificates were not verified")
	}
	if err := r.signature.checkDigest(r.root); err != nil {
		return err
	}
	sum, err := r.signature.signedDigest()
	if err != nil {
		return err
	}
	key, err := p384(r.certs[0])
	if err != nil {
		return err
	}
	return verifyRaw(key, sum, r.signature.value)
}
