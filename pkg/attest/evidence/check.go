package evidence

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// Names of the checks that every format makes. They are stable.
const (
	// CheckFormat: the document's format is the one this verifier is for.
	CheckFormat = "evidence_format"
	// CheckNonce: the document answers the caller's nonce and no older one.
	CheckNonce = "nonce"
	// CheckKeyBinding: the TLS key named is the one seen on the connection.
	CheckKeyBinding = "key_binding"
	// CheckReportData: the signed report holds the digest of nonce, key and devices.
	CheckReportData = "report_data"
	// CheckConfig: the config is the one that was asked to run.
	CheckConfig = "config_binding"
	// CheckPlatform: the signed report holds the digest of the expected platform part.
	CheckPlatform = "platform_binding"
)

// Expect is what a verifier knows beforehand. A digest can't be left out by
// forgetting it: a zero one is compared like any other.
type Expect struct {
	// Nonce is the one the caller chose for this request.
	Nonce [32]byte
	// TLSKeyDigest is of the key that the caller saw on its connection.
	TLSKeyDigest [32]byte
	// ConfigDigest is SHA-256 of the config file.
	ConfigDigest [32]byte
	// PlatformDigest is PlatformDigest of the platform part.
	PlatformDigest [32]byte
	// AnyPlatform is said by those who can't know the platform part: the report
	// must bind the one that the document names, and the verdict lists "platform"
	// as not pinned.
	AnyPlatform bool
}

// Bound is what the signed report itself holds.
type Bound struct {
	// ReportData is REPORT_DATA (SNP) or REPORTDATA (TDX).
	ReportData [64]byte
	// HostData is HOST_DATA (SNP) or the first 32 bytes of MRCONFIGID (TDX),
	// whose other 16 bytes the format's verifier has found to be zero.
	HostData [32]byte
}

// Check makes the checks that do not depend on the format: nonce, key binding,
// report data, config and platform. The caller has verified the signature of the
// report from which bound was taken, and checks the measurement, which is what
// makes the config digest more than a claim.
func (e Expect) Check(v *attest.Verdict, d *Document, bound Bound) {
	e.CheckAnswer(v, d)
	want := e.ReportData(d)
	same(v, CheckReportData, "report data", bound.ReportData[:], want[:])
	e.CheckLaunch(v, d, bound.HostData)
}

// ReportData is what the signed report must hold: the digest of the expected
// nonce and key, and of the document's devices.
func (e Expect) ReportData(d *Document) [64]byte {
	return ReportData(e.Nonce, e.TLSKeyDigest, DeviceEvidenceDigest(d.DeviceEvidence))
}

// CheckAnswer checks that the document answers this question on this connection.
// Its nonce and key are claims: report data is what proves them.
func (e Expect) CheckAnswer(v *attest.Verdict, d *Document) {
	same(v, CheckNonce, "nonce", d.Nonce[:], e.Nonce[:])
	same(v, CheckKeyBinding, "tls key digest", d.TLSKeyDigest[:], e.TLSKeyDigest[:])
}

// CheckLaunch checks what was fixed when the enclave was launched: config and
// platform part. The config's digest is a claim that the measurement proves.
func (e Expect) CheckLaunch(v *attest.Verdict, d *Document, hostData [32]byte) {
	same(v, CheckConfig, "config digest", d.ConfigDigest[:], e.ConfigDigest[:])
	switch {
	case d.PlatformDigest != hostData:
		v.Fail(CheckPlatform, "the document says %x, its signed report %x", d.PlatformDigest, hostData)
	case e.AnyPlatform:
		v.Pass(CheckPlatform, "platform digest is %x, which nothing was compared with", hostData)
		v.NotPinned = append(v.NotPinned, "platform")
	default:
		same(v, CheckPlatform, "platform digest", hostData[:], e.PlatformDigest[:])
	}
}

func same(v *attest.Verdict, name, what string, got, want []byte) {
	if subtle.ConstantTimeCompare(got, want) != 1 {
		v.Fail(name, "%s is %x, expected %x", what, got, want)
		return
	}
	v.Pass(name, "%s is %x", what, got)
}

// CheckDocumentFormat checks that the document is of the wanted format.
func CheckDocumentFormat(v *attest.Verdict, d *Document, want attest.Format) bool {
	if d.Format != want {
		v.Fail(CheckFormat, "the evidence is %s, expected %s", d.Format, want)
		return false
	}
	v.Pass(CheckFormat, "the evidence is %s", d.Format)
	return true
}

// ParseNonce reads a nonce as it stands in a URL: 64 lower-case hex digits.
func ParseNonce(s string) (nonce [32]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(nonce) || hex.EncodeToString(b) != s {
		return nonce, fmt.Errorf("a nonce is 64 lower-case hex digits, not %.80q", s)
	}
	return [32]byte(b), nil
}
