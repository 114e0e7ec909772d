package tdxtest_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

func TestAHierarchySignsOnAfterItWasWrittenAndRead(t *testing.T) {
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	pki, err := tdxtest.NewPKI(at)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pki.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := tdxtest.UnmarshalPKI(text)
	if err != nil {
		t.Fatal(err)
	}
	platform, err := pki.NewPlatform(tdxtest.DefaultExtensions())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := platform.Quote(tdxtest.NewQuote(4, 2))
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := again.Collateral(tdxtest.NewCollateral(at))
	if err != nil {
		t.Fatal(err)
	}
	v, err := tdx.NewVerifier(tdx.Config{Root: pki.Root.Cert})
	if err != nil {
		t.Fatal(err)
	}
	if verdict := v.Verify(tdx.Evidence{Quote: raw}, collateral, tdx.Policy{Absent: tdx.AbsentListed}, at); !verdict.Accepted {
		t.Errorf("collateral of the hierarchy that was read is refused: %v", verdict.Err())
	}

	blocks := bytes.SplitAfter(text, []byte("-----END CERTIFICATE-----\n"))
	for name, bad := range map[string][]byte{
		"nothing": nil, "two authorities": slices.Concat(blocks[0], blocks[1]), "something behind": append(slices.Clone(text), 'x'),
		"a certificate without its key": tdxtest.ChainPEM(pki.Root.Cert),
		"another's key":                 slices.Concat(text[:bytes.Index(text, []byte("-----BEGIN CERTIFICATE-----"))], tdxtest.ChainPEM(pki.PCKCA.Cert), blocks[1], blocks[2]),
	} {
		if _, err := tdxtest.UnmarshalPKI(bad); err == nil {
			t.Errorf("%s was read as a hierarchy", name)
		}
	}
}
