package judge

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// judgeTDX judges a TDX quote.
func (t *trial) judgeTDX() {
	p, err := t.policy.ForTDX()
	if err != nil {
		t.verdict.Fail(CheckPolicy, "%v", err)
		return
	}
	want := t.expect.common().ReportData(t.doc)
	p.Absent = tdx.AbsentRefused
	p.ReportData = tdx.OneOf(want[:])
	p.MRConfigID = tdx.OneOf(configID(t.expect.PlatformDigest))
	if t.expect.AnyPlatform {
		p.MRConfigID = tdx.AnyValue()
	}
	zero := make([]byte, len(Digest{}))
	for _, pin := range []*tdx.Pin{&p.MROwner, &p.MROwnerConfig, &p.RTMR3} {
		if !pin.Any && pin.Values == nil {
			*pin = tdx.OneOf(zero) // nothing of ours sets it
		}
	}
	listed := [4]*tdx.Pin{&p.MRTD, &p.RTMR0, &p.RTMR1, &p.RTMR2}
	verifier, isSimulated := t.tdxVerifier()
	expected := t.tdxMeasurements(listed, isSimulated)
	q, parseErr := tdx.ParseQuote(t.doc.Report)
	pinTDX(listed, likely(expected, q))
	v := verifier.Verify(tdx.Evidence{Quote: t.doc.Report}, t.getTDX(p, isSimulated), p, t.at)
	t.verdict.Merge("", v)
	t.expect.common().CheckAnswer(t.verdict, t.doc)
	if parseErr == nil {
		t.checkTDXMeasurement(&q.Body, expected)
		t.checkTDXLaunch(&q.Body)
	}
}

// configID is MRCONFIGID for a platform part: its digest, padded with zeroes.
func configID(digest [32]byte) []byte {
	var out Digest
	copy(out[:], digest[:])
	return out[:]
}

// registers are those that a launch fixes, in the order of MRTD, RTMR0 to RTMR2.
func (m Measurement) registers() [4]*Digest {
	return [4]*Digest{&m.Launch, m.RTMR[0], m.RTMR[1], m.RTMR[2]}
}

// tdxMeasurements are the expected launches that the policy's pins accept. The registers
// of a simulated launch follow from its measurement.
func (t *trial) tdxMeasurements(listed [4]*tdx.Pin, underSimulated bool) []Measurement {
	var out []Measurement
	for _, m := range t.expect.Measurements {
		if underSimulated && m.RTMR == [3]*Digest{} {
			r := simulated.Registers(m.Launch)
			m.RTMR = [3]*Digest{&r[0], &r[1], &r[2]}
		}
		ok := true
		for i, r := range m.registers() {
			ok = ok && (r == nil || len(listed[i].Values) == 0 || contains(listed[i].Values, r[:]))
		}
		if ok {
			out = append(out, m)
		}
	}
	return out
}

func contains(values [][]byte, want []byte) bool {
	for _, v := range values {
		if bytes.Equal(v, want) {
			return true
		}
	}
	return false
}

// likely are the expected launches of the quote's MRTD, or all of them if there is none:
// what another launch leaves open says nothing of this one.
func likely(expected []Measurement, q *tdx.Quote) []Measurement {
	var out []Measurement
	for _, m := range expected {
		if q != nil && m.Launch == q.Body.MRTD {
			out = append(out, m)
		}
	}
	if out == nil {
		return expected
	}
	return out
}

// pinTDX pins each register to the values that the expected launches have in it. A
// register that one of them leaves open stays as the policy has it; so does MRTD if
// none is expected, which then fails checkTDXMeasurement.
func pinTDX(listed [4]*tdx.Pin, expected []Measurement) {
	for i, pin := range listed {
		var values [][]byte
		for _, m := range expected {
			r := m.registers()[i]
			if r == nil {
				values = nil
				break
			}
			values = append(values, r[:])
		}
		if values != nil {
			*pin = tdx.OneOf(values...)
		}
	}
}

// checkTDXMeasurement wants one expected launch with all its registers: registers of
// different launches must not be mixed.
func (t *trial) checkTDXMeasurement(b *tdx.Body, expected []Measurement) {
	got := [4]*Digest{&b.MRTD, &b.RTMR[0], &b.RTMR[1], &b.RTMR[2]}
	for _, m := range expected {
		same := true
		for i, r := range m.registers() {
			same = same && (r == nil || *r == *got[i])
		}
		if same {
			t.verdict.Pass(CheckMeasurement, "MRTD and RTMRs are those of an expected launch, MRTD %x", b.MRTD)
			return
		}
	}
	if len(expected) == 0 {
		t.verdict.Fail(CheckMeasurement, "MRTD is %x, and no launch is expected that the policy accepts", b.MRTD)
		return
	}
	t.verdict.Fail(CheckMeasurement, "MRTD %x, RTMR0 %x, RTMR1 %x, RTMR2 %x are of none of the %d expected launches",
		b.MRTD, b.RTMR[0], b.RTMR[1], b.RTMR[2], len(expected))
}

func (t *trial) checkTDXLaunch(b *tdx.Body) {
	digest := [32]byte(b.MRConfigID[:32])
	if !bytes.Equal(b.MRConfigID[:], configID(digest)) {
		t.verdict.Fail("mr_config_id", "%x is no digest of 32 bytes padded with zeroes", b.MRConfigID)
	}
	t.expect.common().CheckLaunch(t.verdict, t.doc, digest)
}

// tdxVerifier chooses by the root that the quote brings: a simulated one, or else
// Intel's, which will refuse what doesn't lead to it.
func (t *trial) tdxVerifier() (tdxVerifier, bool) {
	if der, err := lastCertificate(t.doc.Report); err == nil {
		for _, v := range t.tdx {
			if v.root != nil && bytes.Equal(v.root.Raw, der) {
				return v, true
			}
		}
	}
	return t.tdx[0], false
}

func lastCertificate(quote []byte) ([]byte, error) {
	q, err := tdx.ParseQuote(quote)
	if err != nil {
		return nil, fmt.Errorf("read the quote: %w", err)
	}
	var last []byte
	for block, rest := pem.Decode(q.PCKChain); block != nil; block, rest = pem.Decode(rest) {
		last = block.Bytes
	}
	return last, nil
}
