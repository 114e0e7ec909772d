package tdx

import (
	"fmt"
	"strconv"
	"strings"
)

// findModule returns the identity of the TDX module with the given version, the
// second byte of TEE_TCB_SVN. Ids are "TDX_" and two hexadecimal digits.
func (t *tcbInfo) findModule(version byte) (*moduleIdentity, error) {
	if version == 0 {
		return &t.module, nil
	}
	for i := range t.modules {
		digits, ok := strings.CutPrefix(strings.ToUpper(t.modules[i].id), "TDX_")
		if !ok || len(digits) != 2 {
			continue
		}
		if n, err := strconv.ParseUint(digits, 16, 8); err == nil && byte(n) == version {
			return &t.modules[i], nil
		}
	}
	return nil, fmt.Errorf("TCB info knows no TDX module of version %d", version)
}

// checkModule compares the TDX module that made the report with its identity.
func checkModule(t *tcbInfo, b *Body) error {
	m, err := t.findModule(b.TEETCBSVN[1])
	if err != nil {
		return err
	}
	if b.MRSignerSEAM != m.mrSigner {
		return fmt.Errorf("MRSIGNERSEAM is %x, expected %x", b.MRSignerSEAM, m.mrSigner)
	}
	if !maskedEqual(b.SEAMAttributes[:], m.attributes[:], m.mask[:]) {
		return fmt.Errorf("SEAMATTRIBUTES are %x, expected %x under mask %x", b.SEAMAttributes, m.attributes, m.mask)
	}
	return nil
}
