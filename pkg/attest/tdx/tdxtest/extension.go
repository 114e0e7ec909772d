package tdxtest

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

var oidSGX = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}

type item struct {
	ID    asn1.ObjectIdentifier
	Value any
}

// SGXExtension encodes the SGX extension of a PCK certificate, in the form of
// Intel's PCK certificate profile.
func SGXExtension(x tdx.PCKExtensions) (pkix.Extension, error) {
	var tcb []item
	for i, svn := range x.ComponentSVNs {
		tcb = append(tcb, item{oid(2, i+1), int(svn)})
	}
	tcb = append(tcb, item{oid(2, 17), int(x.PCESVN)}, item{oid(2, 18), x.CPUSVN[:]})
	items := []item{
		{oid(1), x.PPID[:]},
		{oid(2), tcb},
		{oid(3), x.PCEID[:]},
		{oid(4), x.FMSPC[:]},
		{oid(5), asn1.Enumerated(x.SGXType)},
		{oid(6), x.PlatformInstanceID[:]},
	}
	der, err := asn1.Marshal(items)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encode SGX extension: %w", err)
	}
	return pkix.Extension{Id: oidSGX, Value: der}, nil
}

func oid(ends ...int) asn1.ObjectIdentifier { return append(slices.Clone(oidSGX), ends...) }
