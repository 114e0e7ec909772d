package collateral

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// VCEK asks for the certificate of a chip's key at a TCB (KDS section 4.1). The
// chip id is CHIP_ID of the report: 64 bytes, of which Turin uses 8.
func VCEK(p sevsnp.Product, chipID []byte, tcb sevsnp.TCB) (Request, error) {
	size := 64
	switch p {
	case sevsnp.Milan, sevsnp.Genoa:
	case sevsnp.Turin:
		size = 8
	default:
		return Request{}, fmt.Errorf("VCEK: unknown product %v, want Milan, Genoa or Turin", p)
	}
	if len(chipID) < size {
		return Request{}, fmt.Errorf("VCEK: chip id has %d bytes, %v needs %d", len(chipID), p, size)
	}
	id := chipID[:size]
	if bytes.Equal(id, make([]byte, size)) {
		return Request{}, errors.New("VCEK: the report names no chip: its host masks the chip id, and must hand over the certificate itself")
	}
	query := fmt.Sprintf("blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d", tcb.Bootloader, tcb.TEE, tcb.SNP, tcb.Microcode)
	name := fmt.Sprintf("%s-%d-%d-%d-%d", hex.EncodeToString(id), tcb.Bootloader, tcb.TEE, tcb.SNP, tcb.Microcode)
	if p == sevsnp.Turin {
		query = fmt.Sprintf("fmcSPL=%d&%s", tcb.FMC, query)
		name = fmt.Sprintf("%s-f%d", name, tcb.FMC)
	}
	return Request{
		Kind: AMDCertificate, Service: AMDKDS,
		Path: fmt.Sprintf("/vcek/v1/%v/%x?%s", p, id, query),
		File: fmt.Sprintf("amd/%v/vcek-%s.der", p, name),
		id:   "SEV-VCEK",
	}, nil
}

// AMDChainOf asks for the ASK or ASVK and the ARK of a product line (KDS section
// 4.2 and 4.4).
func AMDChainOf(p sevsnp.Product, key sevsnp.KeyKind) (Request, error) {
	return amdOf(AMDChain, p, key, "cert_chain", "pem")
}

// AMDCRLOf asks for the revocation list of a product line's root (KDS section 4.3).
func AMDCRLOf(p sevsnp.Product, key sevsnp.KeyKind) (Request, error) {
	return amdOf(AMDCRL, p, key, "crl", "crl")
}

func amdOf(kind Kind, p sevsnp.Product, key sevsnp.KeyKind, what, ending string) (Request, error) {
	name, ok := map[sevsnp.KeyKind]string{sevsnp.VCEK: "vcek", sevsnp.VLEK: "vlek"}[key]
	if !ok || p < sevsnp.Milan || p > sevsnp.Turin {
		return Request{}, fmt.Errorf("%s: unknown product %v or key %v", what, p, key)
	}
	return Request{
		Kind: kind, Service: AMDKDS,
		Path: fmt.Sprintf("/%s/v1/%v/%s", name, p, what),
		File: fmt.Sprintf("amd/%v/%s-%s.%s", p, name, what, ending),
		id:   p.String(),
	}, nil
}

// productOf finds the product line of a report of version 3 or later (ABI table
// 23, CPUID_FAM_ID and CPUID_MOD_ID; models from AMD's revision guides 56683, 57019
// and 58251).
func productOf(r *sevsnp.Report) (sevsnp.Product, error) {
	switch f, m := r.Family, r.Model; {
	case r.Version < 3 || f == 0:
		return 0, errors.New("the report names no CPU: say which product it is, Milan, Genoa or Turin")
	case f == 0x19 && m <= 0x0f:
		return sevsnp.Milan, nil
	case f == 0x19 && (m >= 0x10 && m <= 0x1f || m >= 0xa0 && m <= 0xaf):
		return sevsnp.Genoa, nil
	case f == 0x1a && m <= 0x11:
		return sevsnp.Turin, nil
	default:
		return 0, fmt.Errorf("unknown CPU family 0x%02x model 0x%02x", f, m)
	}
}

// ForReport lists what is needed to verify a report; nothing in it is believed.
// The product is asked for where the report, of version 2, names none; otherwise
// it may be sevsnp.ProductUnknown. A VLEK's certificate comes from the cloud
// provider, not from AMD, and is not among the requests.
func ForReport(raw []byte, product sevsnp.Product) ([]Request, error) {
	r, err := sevsnp.ParseReport(raw)
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	if named, err := productOf(r); err == nil {
		product = named
	} else if product == sevsnp.ProductUnknown {
		return nil, err
	}
	key := r.Signer.Kind()
	chain, err := AMDChainOf(product, key)
	if err != nil {
		return nil, err
	}
	crl, err := AMDCRLOf(product, key)
	if err != nil {
		return nil, err
	}
	if key != sevsnp.VCEK {
		return []Request{chain, crl}, nil
	}
	vcek, err := VCEK(product, r.ChipID[:], r.ReportedTCB.Decode(product))
	if err != nil {
		return nil, err
	}
	return []Request{vcek, chain, crl}, nil
}
