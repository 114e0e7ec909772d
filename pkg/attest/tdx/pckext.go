package tdx

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// Object identifiers of a PCK certificate's SGX extension, from "Intel SGX PCK
// Certificate and Certificate Revocation List Profile Specification".
var oidSGX = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}

const (
	sgxPPID, sgxTCB, sgxPCEID, sgxFMSPC, sgxType, sgxPlatform, sgxConfig = 1, 2, 3, 4, 5, 6, 7

	tcbPCESVN, tcbCPUSVN = 17, 18 // 1 to 16 are the component SVNs
)

// PCKExtensions are the SGX extensions of a PCK certificate: which platform it
// is, and the TCB it was issued for.
type PCKExtensions struct {
	PPID          [16]byte // the platform's provisioning id
	FMSPC         [6]byte  // family, model, stepping, platform, custom SKU
	PCEID         [2]byte
	ComponentSVNs [16]byte
	PCESVN        uint16
	CPUSVN        [16]byte
	SGXType       int64 // 0 standard, 1 scalable, 2 scalable with integrity
	// PlatformInstanceID is zero in certificates of single-package platforms.
	PlatformInstanceID [16]byte
}

// sgxItem is one member of the extension: SEQUENCE { OID, value }.
type sgxItem struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// ParsePCKExtensions reads the SGX extension of a PCK certificate; one that is
// absent, doubled, cut or of a wrong size is an error.
func ParsePCKExtensions(cert *x509.Certificate) (PCKExtensions, error) {
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidSGX) {
			return parseSGXExtension(e.Value)
		}
	}
	return PCKExtensions{}, errors.New("the PCK certificate has no SGX extension")
}

func parseSGXExtension(der []byte) (PCKExtensions, error) {
	var x PCKExtensions
	items, err := sgxItems(der, oidSGX)
	if err != nil {
		return x, fmt.Errorf("read SGX extension: %w", err)
	}
	for _, need := range []int{sgxPPID, sgxTCB, sgxPCEID, sgxFMSPC, sgxType} {
		if _, ok := items[need]; !ok {
			return x, fmt.Errorf("read SGX extension: member %d is missing", need)
		}
	}
	for id, v := range items {
		if err := x.set(id, v); err != nil {
			return x, fmt.Errorf("read SGX extension: member %d: %w", id, err)
		}
	}
	return x, nil
}

func (x *PCKExtensions) set(id int, v asn1.RawValue) error {
	switch id {
	case sgxPPID:
		return octets(v, x.PPID[:])
	case sgxTCB:
		return x.setTCB(v.FullBytes)
	case sgxPCEID:
		return octets(v, x.PCEID[:])
	case sgxFMSPC:
		return octets(v, x.FMSPC[:])
	case sgxType:
		var e asn1.Enumerated
		if err := whole(v.FullBytes, &e); err != nil {
			return err
		}
		x.SGXType = int64(e)
	case sgxPlatform:
		return octets(v, x.PlatformInstanceID[:])
	}
	return nil // the configuration flags (7) and later additions bear on nothing here
}

func (x *PCKExtensions) setTCB(der []byte) error {
	items, err := sgxItems(der, append(slices.Clip(oidSGX), sgxTCB))
	if err != nil {
		return err
	}
	for id := 1; id <= tcbCPUSVN; id++ {
		v, ok := items[id]
		if !ok {
			return fmt.Errorf("TCB member %d is missing", id)
		}
		if id == tcbCPUSVN {
			return octets(v, x.CPUSVN[:])
		}
		var n int64
		if err := whole(v.FullBytes, &n); err != nil {
			return fmt.Errorf("TCB member %d: %w", id, err)
		}
		switch {
		case id == tcbPCESVN && n >= 0 && n <= 0xffff:
			x.PCESVN = uint16(n)
		case id < tcbPCESVN && n >= 0 && n <= 0xff:
			x.ComponentSVNs[id-1] = byte(n)
		default:
			return fmt.Errorf("TCB member %d is %d, out of range", id, n)
		}
	}
	return nil
}

// sgxItems reads SEQUENCE OF sgxItem whose ids are prefix plus one number, each
// at most once.
func sgxItems(der []byte, prefix asn1.ObjectIdentifier) (map[int]asn1.RawValue, error) {
	var list []sgxItem
	if err := whole(der, &list); err != nil {
		return nil, err
	}
	items := make(map[int]asn1.RawValue, len(list))
	for _, it := range list {
		n := len(prefix)
		if len(it.ID) != n+1 || !it.ID[:n].Equal(prefix) {
			return nil, fmt.Errorf("foreign member %v", it.ID)
		}
		if _, dup := items[it.ID[n]]; dup {
			return nil, fmt.Errorf("member %v stands there twice", it.ID)
		}
		items[it.ID[n]] = it.Value
	}
	return items, nil
}

func whole(der []byte, out any) error {
	rest, err := asn1.Unmarshal(der, out)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%d bytes left", len(rest))
	}
	return err
}

func octets(v asn1.RawValue, dst []byte) error {
	if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagOctetString || v.IsCompound {
		return errors.New("not an octet string")
	}
	if len(v.Bytes) != len(dst) {
		return fmt.Errorf("%d bytes, expected %d", len(v.Bytes), len(dst))
	}
	copy(dst, v.Bytes)
	return nil
}
