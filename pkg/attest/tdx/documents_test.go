package tdx_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// TestSignedButMalformedDocumentIsRefused: a signature doesn't make a document
// readable.
func TestSignedButMalformedDocumentIsRefused(t *testing.T) {
	type doc = map[string]any
	level := func(change func(tcb doc)) func(doc) {
		return func(d doc) { change(d["tcbLevels"].([]any)[0].(doc)["tcb"].(doc)) }
	}
	for _, c := range []struct {
		name     string
		tcb, qe  func(doc)
		wantFail string
	}{
		{"TCB info of version 2", func(d doc) { d["version"] = 2 }, nil, "tcb_info_signature"},
		{"TCB info of another type", func(d doc) { d["tcbType"] = 1 }, nil, "tcb_info_signature"},
		{"TCB info without levels", func(d doc) { d["tcbLevels"] = []any{} }, nil, "tcb_info_signature"},
		{"TCB info without a module", func(d doc) { delete(d, "tdxModule") }, nil, "tcb_info_signature"},
		{"FMSPC too short", func(d doc) { d["fmspc"] = "B0" }, nil, "tcb_info_signature"},
		{"FMSPC not hexadecimal", func(d doc) { d["fmspc"] = "B0C06F00000G" }, nil, "tcb_info_signature"},
		{"date that is none", func(d doc) { d["nextUpdate"] = "tomorrow" }, nil, "tcb_info_signature"},
		{"fifteen SGX components", level(func(tcb doc) { tcb["sgxtcbcomponents"] = tcb["sgxtcbcomponents"].([]any)[:15] }), nil, "tcb_info_signature"},
		{"no TDX components", level(func(tcb doc) { delete(tcb, "tdxtcbcomponents") }), nil, "tcb_info_signature"},
		{"PCESVN out of range", level(func(tcb doc) { tcb["pcesvn"] = 70000 }), nil, "tcb_info_signature"},
		{"level without a status", func(d doc) { delete(d["tcbLevels"].([]any)[1].(doc), "tcbStatus") }, nil, "tcb_info_signature"},
		{"module with a short signer", func(d doc) { d["tdxModuleIdentities"].([]any)[0].(doc)["mrsigner"] = "00" }, nil, "tcb_info_signature"},
		{"more levels than are read", func(d doc) {
			l := d["tcbLevels"].([]any)
			for len(l) < 300 {
				l = append(l, l[0])
			}
			d["tcbLevels"] = l
		}, nil, "tcb_info_signature"},
		{"QE identity of version 1", nil, func(d doc) { d["version"] = 1 }, "qe_identity_signature"},
		{"QE identity without levels", nil, func(d doc) { d["tcbLevels"] = []any{} }, "qe_identity_signature"},
		{"QE identity with a long mask", nil, func(d doc) { d["miscselectMask"] = "FFFFFFFFFF" }, "qe_identity_signature"},
		{"QE identity that is a list", nil, func(d doc) { d["isvprodid"] = []any{} }, "qe_identity_signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 4, 2)
			if c.tcb != nil {
				c.tcb(s.collateral.TCBInfo)
			}
			if c.qe != nil {
				c.qe(s.collateral.QEIdentity)
			}
			mustRefuse(t, s.run(t), c.wantFail)
		})
	}
}

// TestEnvelopeIsReadStrictly: nothing but the signed member and its signature.
func TestEnvelopeIsReadStrictly(t *testing.T) {
	for name, change := range map[string]func(doc string) string{
		"a list":                   func(d string) string { return "[" + d + "]" },
		"nothing after the body":   func(d string) string { return d[:strings.Index(d, `,"signature"`)] + "}" },
		"another member":           func(d string) string { return `{"x":1,` + d[1:] },
		"a member in another case": func(d string) string { return strings.Replace(d, "tcbInfo", "tcbinfo", 1) },
		"the signature twice":      func(d string) string { return d[:len(d)-1] + d[strings.Index(d, `,"signature"`):] },
		"bytes after the object":   func(d string) string { return d + "{}" },
		"an upper-case signature": func(d string) string {
			i := strings.Index(d, `"signature":"`) + len(`"signature":"`)
			return d[:i] + strings.ToUpper(d[i:len(d)-2]) + d[len(d)-2:]
		},
		"a short signature":      func(d string) string { return d[:len(d)-4] + `"}` },
		"a signature of letters": func(d string) string { return d[:len(d)-4] + `zz"}` },
		"a cut":                  func(d string) string { return d[:len(d)/2] },
		"too much":               func(d string) string { return d + strings.Repeat(" ", 256<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 4, 2)
			s.signed = func(c *tdx.Collateral) { c.TCBInfo = []byte(change(string(c.TCBInfo))) }
			mustRefuse(t, s.run(t), "tcb_info_signature")
		})
	}
}

func TestHostileListIsRefused(t *testing.T) {
	pki := must(testPKI())
	list := func(shape func(*x509.RevocationList), by *tdxtest.Authority) []byte {
		l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: testTime, NextUpdate: testTime.AddDate(0, 1, 0)}
		shape(l)
		return must(x509.CreateRevocationList(rand.Reader, l, by.Cert, by.Key))
	}
	plain := list(func(*x509.RevocationList) {}, pki.Root)
	for name, crl := range map[string][]byte{
		"no list":          []byte("root"),
		"bytes behind it":  append(bytes.Clone(plain), 0),
		"a changed serial": bytes.Replace(plain, []byte{0x55, 0x1d, 0x14, 0x04, 0x03, 0x02, 0x01, 0x01}, []byte{0x55, 0x1d, 0x14, 0x04, 0x03, 0x02, 0x01, 0x02}, 1),
		"too large":        append(bytes.Clone(plain), make([]byte, 4<<20)...),
		"an unknown critical extension": list(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, pki.Root),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 4, 2)
			s.signed = func(c *tdx.Collateral) { c.RootCRL = crl }
			mustRefuse(t, s.run(t), "root_crl")
		})
	}
}
