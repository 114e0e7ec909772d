package sevsnp_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	sgtest "github.com/google/go-sev-guest/testing"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// table is go-sev-guest's certificate table of its test chain.
func table(t testing.TB) (*sgtest.AmdSigner, []byte) {
	t.Helper()
	signer, err := sgtest.DefaultTestOnlyCertChain("Milan-B1", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	b, err := signer.CertTableBytes()
	if err != nil {
		t.Fatal(err)
	}
	return signer, b
}

func TestTheCertificateTableOfAHostIsRead(t *testing.T) {
	signer, b := table(t)
	got, err := sevsnp.ParseCertTable(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.VCEK, signer.Vcek.Raw) || !bytes.Equal(got.VLEK, signer.Vlek.Raw) ||
		!bytes.Equal(got.ASK, signer.Ask.Raw) || !bytes.Equal(got.ARK, signer.Ark.Raw) {
		t.Error("the certificates read are not those written")
	}
	report := make([]byte, sevsnp.ReportSize)
	if ev := got.Evidence(report); !bytes.Equal(ev.VEK, signer.Vcek.Raw) || len(ev.Chain) == 0 {
		t.Error("a VCEK's report didn't get the VCEK and a chain")
	}
	report[0x48] = 1 << 2
	if ev := got.Evidence(report); !bytes.Equal(ev.VEK, signer.Vlek.Raw) {
		t.Error("a VLEK's report didn't get the VLEK")
	}
	mixed := bytes.Clone(b) // the VCEK's GUID with its first three groups little-endian
	copy(mixed[48:], []byte{0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45})
	if got, err := sevsnp.ParseCertTable(mixed); err != nil || !bytes.Equal(got.VCEK, signer.Vcek.Raw) {
		t.Errorf("a mixed-endian GUID wasn't known, error %v", err)
	}
	if empty, err := sevsnp.ParseCertTable(nil); err != nil || empty.VCEK != nil {
		t.Errorf("an empty table: %+v, error %v", empty, err)
	}
}

func TestMalformedCertificateTablesAreRefused(t *testing.T) {
	_, good := table(t)
	outside := bytes.Clone(good)
	binary.LittleEndian.PutUint32(outside[20:], 0xFFFFFFFF)
	twice := bytes.Clone(good)
	copy(twice[24:40], twice[:16])
	for name, b := range map[string][]byte{
		"no end": good[:48], "certificate outside": outside, "an entry twice": twice, "too long": make([]byte, 64<<10+1),
	} {
		if _, err := sevsnp.ParseCertTable(b); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func FuzzParseCertTable(f *testing.F) {
	_, b := table(f)
	f.Add(b)
	f.Add(make([]byte, 24))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := sevsnp.ParseCertTable(b); err == nil {
			c.Evidence(b)
		}
	})
}

func TestATableIsReadAsItWasWritten(t *testing.T) {
	want := sevsnp.CertTable{VCEK: []byte("vcek"), ASK: []byte("ask"), ARK: []byte("the ark")}
	got, err := sevsnp.ParseCertTable(want.Marshal())
	if err != nil || !bytes.Equal(got.VCEK, want.VCEK) || got.VLEK != nil || !bytes.Equal(got.ASK, want.ASK) || !bytes.Equal(got.ARK, want.ARK) {
		t.Errorf("read back %+v, %v", got, err)
	}
	if got, err = sevsnp.ParseCertTable((&sevsnp.CertTable{}).Marshal()); err != nil || got.VCEK != nil {
		t.Errorf("the empty table was read as %+v, %v", got, err)
	}
}
