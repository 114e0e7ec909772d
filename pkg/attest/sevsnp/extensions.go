package sevsnp

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// AMD's arc of X.509 extensions in VCEK and VLEK certificates (KDS table 8 and 9).
var oidAMD = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}

// Numbers under AMD's arc.
const (
	extStruct  = 1
	extProduct = 2
	extSPL     = 3 // followed by the SPL's number: 1 bootloader, 2 TEE, 3 SNP, 8 microcode, 9 FMC
	extHWID    = 4
	extCSPID   = 5
)

// maxSPL is the highest SPL number, Turin's FMC.
const maxSPL = 9

// endorsement is what a VCEK's or VLEK's extensions say.
type endorsement struct {
	product Product
	tcb     RawTCB
	// hwid is the chip's id, 64 bytes or (Turin) 8; nil for a VLEK.
	hwid []byte
	// cspID names the cloud provider of a VLEK.
	cspID string
}

// parseEndorsement reads the extensions of a VCEK or VLEK certificate. Extensions of
// AMD's that are unknown, missing, double or malformed are refused.
func parseEndorsement(cert *x509.Certificate, kind KeyKind) (*endorsement, error) {
	if len(cert.UnhandledCriticalExtensions) > 0 {
		return nil, fmt.Errorf("unknown critical extension %v", cert.UnhandledCriticalExtensions[0])
	}
	fields, err := amdExtensions(cert)
	if err != nil {
		return nil, err
	}
	e := new(endorsement)
	if _, err := fields.integer(extStruct, 0); err != nil {
		return nil, err
	}
	name, err := fields.text(extProduct)
	if err != nil {
		return nil, err
	}
	if e.product, err = productByName(name); err != nil {
		return nil, err
	}
	if e.tcb, err = fields.tcb(e.product); err != nil {
		return nil, err
	}
	return e, fields.identity(e, kind)
}

// extKey is an extension's place under AMD's arc; spl is 0 except for SPLs.
type extKey struct{ num, spl int }

type extFields map[extKey][]byte

func amdExtensions(cert *x509.Certificate) (extFields, error) {
	fields := make(extFields, 12)
	for _, ext := range cert.Extensions {
		if len(ext.Id) < len(oidAMD) || !ext.Id[:len(oidAMD)].Equal(oidAMD) {
			continue
		}
		tail := ext.Id[len(oidAMD):]
		var key extKey
		switch {
		case len(tail) == 1 && tail[0] >= extStruct && tail[0] <= extCSPID && tail[0] != extSPL:
			key = extKey{num: tail[0]}
		case len(tail) == 2 && tail[0] == extSPL && tail[1] >= 1 && tail[1] <= maxSPL:
			key = extKey{num: extSPL, spl: tail[1]}
		default:
			return nil, fmt.Errorf("unknown AMD extension %v", ext.Id)
		}
		if _, ok := fields[key]; ok {
			return nil, fmt.Errorf("extension %v stands twice", ext.Id)
		}
		fields[key] = ext.Value
	}
	return fields, nil
}

func (f extFields) integer(num, spl int) (uint8, error) {
	raw, ok := f[extKey{num, spl}]
	if !ok {
		return 0, fmt.Errorf("extension %d.%d under AMD's arc is missing", num, spl)
	}
	var n int
	rest, err := asn1.Unmarshal(raw, &n)
	if err != nil || len(rest) != 0 || n < 0 || n > 255 {
		return 0, fmt.Errorf("extension %d.%d under AMD's arc is no number from 0 to 255", num, spl)
	}
	return uint8(n), nil
}

func (f extFields) text(num int) (string, error) {
	var s string
	raw := f[extKey{num: num}]
	rest, err := asn1.UnmarshalWithParams(raw, &s, "ia5")
	if err != nil || len(rest) != 0 || s == "" || raw[0] != asn1.TagIA5String {
		return "", fmt.Errorf("extension %d under AMD's arc is missing or no text", num)
	}
	return s, nil
}

// tcb composes the TCB_VERSION that the SPL extensions speak of.
func (f extFields) tcb(p Product) (RawTCB, error) {
	var out RawTCB
	for spl, pos := range splPositions[p] {
		_, present := f[extKey{extSPL, spl}]
		if pos < 0 && !present {
			continue
		}
		n, err := f.integer(extSPL, spl)
		if err != nil {
			return out, err
		}
		if pos < 0 {
			if n != 0 {
				return out, fmt.Errorf("SPL %d is %d, but %v has no such level", spl, n, p)
			}
			continue
		}
		out[pos] = n
	}
	return out, nil
}

// identity reads HWID or CSP_ID: a VCEK has the one, a VLEK the other.
func (f extFields) identity(e *endorsement, kind KeyKind) error {
	hwid, hasHWID := f[extKey{num: extHWID}]
	_, hasCSP := f[extKey{num: extCSPID}]
	if kind == VLEK {
		if hasHWID {
			return errors.New("a VLEK with a hardware id")
		}
		var err error
		e.cspID, err = f.text(extCSPID)
		return err
	}
	if hasCSP {
		return errors.New("a VCEK with a provider id")
	}
	size := e.product.chipIDSize()
	// AMD writes the id without a tag; the specification has an OCTET STRING.
	if len(hwid) == size+2 && hwid[0] == asn1.TagOctetString && int(hwid[1]) == size {
		hwid = hwid[2:]
	}
	if !hasHWID || len(hwid) != size {
		return fmt.Errorf("hardware id has %d bytes, want %d for %v", len(hwid), size, e.product)
	}
	e.hwid = append([]byte(nil), hwid...)
	return nil
}
