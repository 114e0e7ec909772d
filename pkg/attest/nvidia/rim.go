package nvidia

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/beevik/etree"
)

// rimChainLength: signer, L3, product authority, root.
const rimChainLength = 4

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
	issuers   []issuer // of all of certs but the root
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

// verifyChain checks the signer's certificates, apart from the time.
func (r *RIM) verifyChain(roots []*x509.Certificate) error {
	certs, err := parseChain(r.signature.chain)
	if err != nil {
		return err
	}
	if err := verifyChain(certs, rimChainLength, roots); err != nil {
		return err
	}
	issuers, err := issuersOf(certs)
	if err != nil {
		return err
	}
	r.certs, r.issuers, r.valid = certs, issuers, validity(certs)
	r.anchor = issuers[len(issuers)-1].digest
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
