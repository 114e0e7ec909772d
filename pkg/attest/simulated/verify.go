package simulated

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
)

// Names of the checks that Verify makes besides those of package evidence.
const (
	// CheckInsecureMode: the policy names simulated evidence.
	CheckInsecureMode = "insecure_mode"
	// CheckReport: the report can be read and is whole.
	CheckReport = "report_integrity"
	// CheckMeasurement: the measurement is one of those expected.
	CheckMeasurement = "measurement"
	// CheckDebugOff: it is no debug enclave, or the policy names those.
	CheckDebugOff = "debug_off"
	// CheckFreshness: the report was made about now.
	CheckFreshness = "freshness"
)

// MaxAge is how far a report's time may lie from the verifier's, either way.
// The nonce is what makes an answer fresh; this shows a clock that is wrong.
const MaxAge = 5 * time.Minute

// Expect is what evidence is compared with. Its zero value accepts nothing.
type Expect struct {
	// Nonce is the one the caller chose.
	Nonce [32]byte
	// TLSKeyDigest is of the key the caller saw on its connection.
	TLSKeyDigest [32]byte
	// ConfigDigest is SHA-256 of the config file.
	ConfigDigest [32]byte
	// PlatformDigest is evidence.PlatformDigest of the platform part.
	PlatformDigest [32]byte
	// AnyPlatform is as in evidence.Expect.
	AnyPlatform bool
	// Measurements are the launch measurements of which one is expected, in
	// lower-case hex. An empty list accepts none.
	Measurements []string
	// AllowSimulated accepts evidence that proves nothing.
	AllowSimulated bool
	// AllowDebug accepts debug enclaves.
	AllowDebug bool
}

// Verify judges simulated evidence. It makes every check that it can, so that
// the verdict tells all that is wrong at once; a nil document is refused.
func Verify(doc *evidence.Document, expect Expect, at time.Time) *attest.Verdict {
	v := attest.NewVerdict(attest.FormatSimulated, at)
	v.Insecure = append(v.Insecure, evidence.MarkSimulated)
	if doc == nil {
		v.Fail(evidence.CheckFormat, "there is no evidence")
		return v
	}
	if !evidence.CheckDocumentFormat(v, doc, attest.FormatSimulated) {
		return v
	}
	checkAllowed(v, expect)
	report, err := ParseReport(doc.Report)
	if !v.Report(CheckReport, err, "the report is whole; nobody signed it") {
		return v
	}
	claim(v, doc, report)
	common := evidence.Expect{
		Nonce: expect.Nonce, TLSKeyDigest: expect.TLSKeyDigest,
		ConfigDigest: expect.ConfigDigest, PlatformDigest: expect.PlatformDigest, AnyPlatform: expect.AnyPlatform,
	}
	common.Check(v, doc, evidence.Bound{ReportData: report.ReportData, HostData: report.HostData})
	checkMeasurement(v, report, expect)
	checkDebug(v, doc, report, expect)
	checkFreshness(v, report, at)
	return v
}

func checkAllowed(v *attest.Verdict, expect Expect) {
	if !expect.AllowSimulated {
		v.Fail(CheckInsecureMode, "simulated evidence proves nothing and the policy does not allow it")
		return
	}
	v.Pass(CheckInsecureMode, "simulated evidence proves nothing; the policy allows it")
}

func claim(v *attest.Verdict, doc *evidence.Document, r Report) {
	v.Claims["measurement"] = hex.EncodeToString(r.Measurement[:])
	v.Claims["host_data"] = hex.EncodeToString(r.HostData[:])
	v.Claims["report_data"] = hex.EncodeToString(r.ReportData[:])
	v.Claims["config_digest"] = hex.EncodeToString(doc.ConfigDigest[:])
	v.Claims["tls_key_digest"] = hex.EncodeToString(doc.TLSKeyDigest[:])
	v.Claims["debug"] = r.Debug
	v.Claims["issued"] = r.Issued.Format(time.RFC3339)
}

func checkMeasurement(v *attest.Verdict, r Report, expect Expect) {
	got := hex.EncodeToString(r.Measurement[:])
	switch {
	case len(expect.Measurements) == 0:
		v.Fail(CheckMeasurement, "measurement is %s, and none is expected", got)
	case !slices.Contains(expect.Measurements, got):
		v.Fail(CheckMeasurement, "measurement is %s, expected one of %v", got, expect.Measurements)
	default:
		v.Pass(CheckMeasurement, "measurement is %s", got)
	}
}

func checkDebug(v *attest.Verdict, doc *evidence.Document, r Report, expect Expect) {
	debug := r.Debug || slices.Contains(doc.Insecure, evidence.MarkDebug)
	if debug {
		v.Insecure = append(v.Insecure, evidence.MarkDebug)
	}
	switch {
	case debug && !expect.AllowDebug:
		v.Fail(CheckDebugOff, "this is a debug enclave, which has a shell, and the policy does not allow it")
	case debug:
		v.Pass(CheckDebugOff, "this is a debug enclave, which has a shell; the policy allows it")
	default:
		v.Pass(CheckDebugOff, "debug is off")
	}
}

func checkFreshness(v *attest.Verdict, r Report, at time.Time) {
	age := at.Sub(r.Issued)
	if age.Abs() > MaxAge {
		v.Fail(CheckFreshness, "the report was made at %s, %s from now; at most %s are allowed: compare the clocks",
			r.Issued.Format(time.RFC3339), age.Abs().Round(time.Second), MaxAge)
		return
	}
	v.Pass(CheckFreshness, "the report was made at %s", r.Issued.Format(time.RFC3339))
}
