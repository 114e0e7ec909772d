package sevsnptest_test

import (
	"bytes"
	"encoding/pem"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
)

func TestAChipSignsWithoutItsVendor(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	vendor, err := sevsnptest.NewSigner(sevsnp.Turin, now.AddDate(0, 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	made, err := vendor.NewChip()
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	chip, err := sevsnptest.ParseChip(text)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("PRIVATE KEY-----\n")); n != 2 {
		t.Errorf("%d ends of private keys are handed to the chip, want those of its own key alone", n)
	}
	raw, err := chip.Sign(chip.Report())
	if err != nil {
		t.Fatal(err)
	}
	v, err := sevsnp.NewVerifier(sevsnp.Config{Roots: vendor.Roots()})
	if err != nil {
		t.Fatal(err)
	}
	certs := chip.Certificates()
	var chain []byte
	for _, der := range certs[1:] {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	policy := &sevsnp.Policy{AllowSimulated: true, PermitUnpinned: true}
	if got := v.Verify(sevsnp.Evidence{Report: raw, VEK: certs[0], Chain: chain}, policy, now); !got.Accepted {
		t.Errorf("refused: %v", got.Err())
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "no certificates": text[:bytes.Index(text, []byte("-----BEGIN CERT"))],
		"no key": text[bytes.Index(text, []byte("-----BEGIN CERT")):],
	} {
		if _, err := sevsnptest.ParseChip(bad); err == nil {
			t.Errorf("%s was read as a chip", name)
		}
	}
}
