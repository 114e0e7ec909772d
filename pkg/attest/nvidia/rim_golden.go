package nvidia

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/beevik/etree"
)

const (
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
