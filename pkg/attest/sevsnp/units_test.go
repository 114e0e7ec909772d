package sevsnp_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	mathrand "math/rand"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

func TestIntegersAreWrittenAsDER(t *testing.T) {
	rnd := mathrand.New(mathrand.NewSource(2))
	for i := range 2000 {
		le := make([]byte, 48)
		rnd.Read(le[:rnd.Intn(49)]) // with zeros at the upper end
		if i == 0 {
			clear(le)
		}
		be := bytes.Clone(le)
		for a, b := 0, len(be)-1; a < b; a, b = a+1, b-1 {
			be[a], be[b] = be[b], be[a]
		}
		want, err := asn1.Marshal(new(big.Int).SetBytes(be))
		if err != nil {
			t.Fatal(err)
		}
		if got := sevsnp.AppendInteger(nil, le); !bytes.Equal(got, want) {
			t.Fatalf("%x is written %x, want %x", le, got, want)
		}
	}
}

func TestProductsByCPU(t *testing.T) {
	for _, c := range []struct {
		family, model uint8
		want          sevsnp.Product
	}{
		{0x19, 0x00, sevsnp.Milan}, {0x19, 0x01, sevsnp.Milan}, {0x19, 0x0F, sevsnp.Milan},
		{0x19, 0x10, sevsnp.Genoa}, {0x19, 0x11, sevsnp.Genoa}, {0x19, 0xA0, sevsnp.Genoa}, {0x19, 0xAF, sevsnp.Genoa},
		{0x1A, 0x02, sevsnp.Turin}, {0x1A, 0x11, sevsnp.Turin},
		{0x19, 0x20, sevsnp.ProductUnknown}, {0x19, 0xB0, sevsnp.ProductUnknown}, {0x1A, 0x12, sevsnp.ProductUnknown},
		{0x17, 0x31, sevsnp.ProductUnknown}, {0, 0, sevsnp.ProductUnknown},
	} {
		got, err := sevsnp.ProductByCPUID(c.family, c.model)
		if got != c.want || (err == nil) != (c.want != sevsnp.ProductUnknown) {
			t.Errorf("family 0x%x model 0x%x: %v, error %v; want %v", c.family, c.model, got, err, c.want)
		}
	}
}

func TestTCBLayouts(t *testing.T) {
	tcb := sevsnp.TCB{FMC: 9, Bootloader: 1, TEE: 2, SNP: 3, Microcode: 4}
	for p, want := range map[sevsnp.Product]sevsnp.RawTCB{
		sevsnp.Milan: {1, 2, 0, 0, 0, 0, 3, 4}, sevsnp.Genoa: {1, 2, 0, 0, 0, 0, 3, 4}, sevsnp.Turin: {9, 1, 2, 3, 0, 0, 0, 4},
	} {
		if got := tcb.Encode(p); got != want {
			t.Errorf("%v: %v, want %v", p, got, want)
		}
		back := want.Decode(p)
		if p != sevsnp.Turin {
			back.FMC = 9 // there is none
		}
		if back != tcb {
			t.Errorf("%v: read back %+v, want %+v", p, back, tcb)
		}
	}
}

func TestPEMIsReadStrictly(t *testing.T) {
	der := newSigner(t, sevsnp.Milan).Roots()[0].Certificate.Raw
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	headers := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der, Headers: map[string]string{"a": "b"}})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for name, c := range map[string]struct {
		b    []byte
		want int
	}{
		"DER": {der, 1}, "two in DER": {append(bytes.Clone(der), der...), 2}, "PEM": {one, 1},
		"two in PEM": {append(bytes.Clone(one), one...), 2}, "white space around": {append([]byte("\n "), append(bytes.Clone(one), "\n\n"...)...), 1},
		"nothing": {nil, 0}, "white space": {[]byte(" \n"), 0}, "headers": {headers, 0}, "another type": {key, 0},
		"text before": {append([]byte("x\n"), one...), 0}, "text after": {append(bytes.Clone(one), "x"...), 0},
		"text between":     {append(append(bytes.Clone(one), "x\n"...), one...), 0},
		"no end":           {one[:len(one)-10], 0},
		"a broken block":   {append(bytes.Clone(one[:200]), one...), 0},
		"DER and a byte":   {append(bytes.Clone(der), 0), 0},
		"DER cut":          {der[:len(der)-1], 0},
		"seventeen":        {bytes.Repeat(one, 17), 0},
		"beyond all bound": {bytes.Repeat([]byte{'x'}, 1<<20), 0},
	} {
		got, err := sevsnp.ParseCertificates(c.b)
		if (err == nil) != (c.want > 0) || len(got) != c.want {
			t.Errorf("%s: %d certificates, error %v; want %d", name, len(got), err, c.want)
		}
	}
}

func TestPlatformInfoIsNamed(t *testing.T) {
	got := sevsnp.PlatformInfo(0x27 | 1<<40).Names()
	want := []string{"smt", "tsme", "ecc", "alias_check_complete"}
	if len(got) != len(want) {
		t.Fatalf("names %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("names %v, want %v", got, want)
		}
	}
}

func TestAnUnknownPlatformBitIsNoReasonToRefuse(t *testing.T) {
	s := newSigner(t, sevsnp.Genoa)
	r := s.Report()
	r.PlatformInfo |= 1 << 9
	ev, err := s.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	wantAccepted(t, newVerifier(t, s.Roots()).Verify(ev, simulated(), noon))
}
