package nvidia

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"
)

// parseKeyInfo reads the signer's certificates, leaf first.
func (s *xmlSignature) parseKeyInfo(el *etree.Element) error {
	parts, err := exactly(el, "X509Data")
	if err != nil {
		return err
	}
	if err := errors.Join(onlyAttrs(el), onlyAttrs(parts[0])); err != nil {
		return err
	}
	elements, err := children(parts[0])
	if err != nil {
		return err
	}
	if len(elements) > maxChainLength {
		return fmt.Errorf("X509Data holds %d certificates, more than %d", len(elements), maxChainLength)
	}
	for _, c := range elements {
		if !is(c, nsDSig, "X509Certificate") {
			return fmt.Errorf("X509Data holds a %s", c.Tag)
		}
		der, err := certificateText(c)
		if err != nil {
			return fmt.Errorf("X509Certificate: %w", err)
		}
		s.chain = append(s.chain, der)
	}
	return nil
}

// certificateText reads base64 in lines of 64 columns, each ended by a newline,
// which is the one form accepted: these bytes are not signed.
func certificateText(el *etree.Element) ([]byte, error) {
	text, err := textOf(el)
	if err != nil {
		return nil, err
	}
	joined := strings.ReplaceAll(text, "\n", "")
	der, err := base64.StdEncoding.Strict().DecodeString(joined)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	var again strings.Builder
	for len(joined) > 0 {
		n := min(64, len(joined))
		again.WriteString(joined[:n] + "\n")
		joined = joined[n:]
	}
	if again.String() != text {
		return nil, errors.New("not base64 in lines of 64 columns")
	}
	return der, nil
}

// base64Text reads an element's text as canonical base64 of size bytes.
func base64Text(el *etree.Element, size int) ([]byte, error) {
	text, err := textOf(el)
	if err != nil {
		return nil, err
	}
	if strings.Contains(text, "\n") {
		return nil, fmt.Errorf("%s is not one line of base64", el.Tag)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", el.Tag, err)
	}
	if len(b) != size {
		return nil, fmt.Errorf("%s has %d bytes, want %d", el.Tag, len(b), size)
	}
	return b, nil
}
