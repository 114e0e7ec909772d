package attested

import (
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// expectItself expects of evidence what it says itself, for those who name no
// release. A policy's lists of measurements still narrow it.
func expectItself(e *judge.Expect, doc *evidence.Document) {
	e.ConfigDigest, e.GPUs = doc.ConfigDigest, judge.AnyGPUs
	switch doc.Format {
	case attest.FormatSEVSNP:
		if r, err := sevsnp.ParseReport(doc.Report); err == nil {
			e.Measurements = []judge.Measurement{{Launch: r.Measurement}}
		}
	case attest.FormatTDX:
		if q, err := tdx.ParseQuote(doc.Report); err == nil {
			b := &q.Body
			e.Measurements = []judge.Measurement{{Launch: b.MRTD, RTMR: [3]*judge.Digest{&b.RTMR[0], &b.RTMR[1], &b.RTMR[2]}}}
		}
	case attest.FormatSimulated:
		if r, err := simulated.ParseReport(doc.Report); err == nil {
			e.Measurements = []judge.Measurement{{Launch: r.Measurement}}
		}
	}
}
