package tdx

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// seedQuote is a quote's frame without certificates: enough for a fuzzer to find
// every branch of the parser.
func seedQuote(version, bodyType uint16, chain string) []byte {
	q := make([]byte, 48)
	q[0], q[2], q[4] = byte(version), 2, 0x81
	size := bodySize10
	if bodyType == bodyTypeTD15 {
		size = bodySize15
	}
	if version == 5 {
		q = append(q, byte(bodyType), 0, byte(size), byte(size>>8), 0, 0)
	}
	q = append(q, make([]byte, size)...)
	qe := append(make([]byte, qeReportSize+signatureSize), 0, 0)
	qe = append(append(qe, 5, 0, byte(len(chain)), byte(len(chain)>>8), 0, 0), chain...)
	data := append(make([]byte, signatureSize+keySize), 6, 0, byte(len(qe)), byte(len(qe)>>8), 0, 0)
	data = append(data, qe...)
	return append(append(q, byte(len(data)), byte(len(data)>>8), 0, 0), data...)
}

func FuzzParseQuote(f *testing.F) {
	for _, s := range [][]byte{seedQuote(4, 2, "x"), seedQuote(5, 2, "x"), seedQuote(5, 3, ""), append(seedQuote(4, 2, string(intelRootPEM)), 1, 2)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		q, err := ParseQuote(raw)
		if err != nil {
			return
		}
		if end := len(raw) - q.Trailing; !bytes.HasPrefix(raw, q.Signed) || end < len(q.Signed) || end > len(raw) {
			t.Errorf("signed bytes are not the quote's own: %d of %d", len(q.Signed), len(raw))
		}
		if len(q.Signature) != signatureSize || len(q.AttestationKey) != keySize || len(q.QEReportRaw) != qeReportSize {
			t.Error("an accepted quote has fields of a wrong size")
		}
	})
}

// FuzzVerify must not panic, and must accept nothing that a fuzzer can make.
func FuzzVerify(f *testing.F) {
	f.Add(seedQuote(4, 2, string(intelRootPEM)), []byte(`{"tcbInfo":{},"signature":""}`), []byte{0x30, 0x03, 0x02, 0x01, 0x01})
	f.Add(seedQuote(5, 3, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("{}"), []byte("-----BEGIN X509 CRL-----\n"))
	v, err := NewVerifier(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, quote, doc, crl []byte) {
		c := &Collateral{TCBInfo: doc, QEIdentity: doc, PCKCRL: crl, RootCRL: crl, TCBInfoChain: crl}
		for _, mode := range []TCBMode{Required, ChainOnly} {
			if v.Verify(Evidence{Quote: quote}, c, Policy{TCB: mode, Absent: AbsentListed}, intelRootTime).Accepted {
				t.Error("a quote that nobody signed was accepted")
			}
		}
	})
}

func FuzzTCBInfo(f *testing.F) {
	f.Add([]byte(`{"tcbInfo":{"id":"TDX","version":3,"issueDate":"2025-06-19T10:16:03Z","nextUpdate":"2025-07-19T10:16:03Z","fmspc":"B0C06F000000","pceId":"0000","tcbType":0,"tcbEvaluationDataNumber":17,"tdxModule":{"mrsigner":"","attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF"},"tdxModuleIdentities":[],"tcbLevels":[{"tcb":{"sgxtcbcomponents":[{"svn":2}],"pcesvn":11,"tdxtcbcomponents":[]},"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":"UpToDate"}]},"signature":"` + hex.EncodeToString(make([]byte, 64)) + `"}`))
	f.Add([]byte(`{"tcbInfo":{},"signature":"00"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		body, sig, err := openEnvelope(doc, "tcbInfo")
		if err != nil {
			return
		}
		if !bytes.Contains(doc, body) || len(sig) != signatureSize {
			t.Error("the signed bytes are not the document's own")
		}
		if info, err := parseTCBInfo(body); err == nil {
			checkLevels(t, info.levels)
			if _, err := evaluateTCB(info, &qeIdentity{levels: []tcbLevel{{status: UpToDate}}}, &PCKExtensions{}, &Quote{Body: Body{Type: bodyTypeTD15}}); err == nil && len(info.levels) == 0 {
				t.Error("a platform was judged without any level")
			}
		}
	})
}

func FuzzQEIdentity(f *testing.F) {
	f.Add([]byte(`{"id":"TD_QE","version":2,"issueDate":"2025-06-19T10:32:27Z","nextUpdate":"2025-07-19T10:32:27Z","tcbEvaluationDataNumber":17,"miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":"11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"` + intelQEMRSigner + `","isvprodid":2,"tcbLevels":[{"tcb":{"isvsvn":4},"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":"UpToDate"}]}`))
	f.Add([]byte(`{"id":"QE"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parseQEIdentity(body)
		if err != nil {
			return
		}
		checkLevels(t, q.levels)
		_ = q.check(&QEReport{})
	})
}

func checkLevels(t *testing.T, levels []tcbLevel) {
	if len(levels) == 0 || len(levels) > maxLevels {
		t.Errorf("%d levels were accepted", len(levels))
	}
	for _, l := range levels {
		if l.status == "" {
			t.Error("a level without a status was accepted")
		}
	}
}

func FuzzSGXExtension(f *testing.F) {
	seed, err := hex.DecodeString(sgxExtension)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:40])
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := parseSGXExtension(der); err == nil && len(der) < len(sgxExtension)/4 {
			t.Errorf("an extension of %d bytes was read, too short for its members", len(der))
		}
	})
}

func FuzzPolicy(f *testing.F) {
	for _, s := range []string{"tcb: required", "mr_td: any", "mr_td: [ab]\nrtmr0: any", "accepted_tcb_statuses: [UpToDate]", "a: &x [*x]", "allow_stale_collateral: 1h"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := ParsePolicy(doc)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Errorf("a policy was read that isn't valid: %v", err)
		}
		if p.Absent != AbsentRefused {
			t.Error("a policy was read that lets absence pass")
		}
	})
}

func FuzzCertificates(f *testing.F) {
	f.Add(intelRootPEM)
	f.Add(append(bytes.Clone(intelTCBSigningPEM), intelRootPEM...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\r\nAA==\r\n-----END CERTIFICATE-----\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		certs, err := parseCertificates(text, 3)
		if err == nil && len(certs) > 3 {
			t.Errorf("%d certificates were read, at most 3 expected", len(certs))
		}
		_, _ = verifyCRL(text, IntelRoot())
		_, _ = verifySigner(text, IntelRoot())
	})
}
