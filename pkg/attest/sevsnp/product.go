package sevsnp

import (
	"fmt"
	"strings"
)

// Product is a line of AMD processors with a root key of its own.
type Product uint8

// The product lines. Bergamo and Siena are endorsed by Genoa's keys (KDS section 3.1).
const (
	ProductUnknown Product = iota
	Milan
	Genoa
	Turin
)

var productNames = [...]string{"unknown", "Milan", "Genoa", "Turin"}

// String returns the name as AMD's certificates spell it.
func (p Product) String() string {
	if int(p) >= len(productNames) {
		return fmt.Sprintf("product(%d)", uint8(p))
	}
	return productNames[p]
}

// productByName finds a product line by the name in certificates, such as "Milan" or
// "Milan-B0". Steppings are not compared: certificates of early parts name a wrong one.
func productByName(name string) (Product, error) {
	line, _, _ := strings.Cut(name, "-")
	for p := Milan; p <= Turin; p++ {
		if line == p.String() {
			return p, nil
		}
	}
	return ProductUnknown, fmt.Errorf("unknown product %q, want Milan, Genoa or Turin", name)
}

// productByCPUID finds a product line by combined family and model (ABI table 23,
// CPUID_FAM_ID and CPUID_MOD_ID; models from AMD's revision guides 56683, 57019 and 58251).
func productByCPUID(family, model uint8) (Product, error) {
	switch {
	case family == 0x19 && model <= 0x0F:
		return Milan, nil
	case family == 0x19 && (model >= 0x10 && model <= 0x1F || model >= 0xA0 && model <= 0xAF):
		return Genoa, nil
	case family == 0x1A && model <= 0x11:
		return Turin, nil
	}
	return ProductUnknown, fmt.Errorf("unknown CPU family 0x%02x model 0x%02x", family, model)
}

// chipIDSize is how many bytes of CHIP_ID and of the certificate's HWID are used: 64,
// and 8 from Turin on (KDS section 2.1).
func (p Product) chipIDSize() int {
	if p == Turin {
		return 8
	}
	return 64
}
