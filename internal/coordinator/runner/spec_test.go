package runner

import (
	"slices"
	"strings"
	"testing"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

func TestAnEnclaveIsExpectedToMeasureWhatItsManifestSays(t *testing.T) {
	digest := func(b byte) *measure.Digest { return &measure.Digest{b} }
	text := func(b string) string { return b + strings.Repeat("0", 94) }
	rev := model.Revision{Manifest: &model.Manifest{Number: 1}, Expected: []manifest.Expected{
		{Platform: attest.FormatSEVSNP, Measurement: digest(1)},
		{Platform: attest.FormatSEVSNP, Measurement: digest(2)},
		{Platform: attest.FormatTDX, MRTD: digest(3), RTMR1: digest(4), RTMR2: digest(5)},
		{Platform: attest.FormatTDX, MRTD: digest(3), RTMR0: digest(6), RTMR1: digest(4), RTMR2: digest(5)},
		{Platform: attest.FormatSimulated, Measurement: digest(7)},
	}}
	for profile, want := range map[agentv1.CvmProfile][]string{
		agentv1.CvmProfile_CVM_PROFILE_SEV_SNP:     {text("01"), text("02")},
		agentv1.CvmProfile_CVM_PROFILE_TDX:         {text("03") + "::" + text("04") + ":" + text("05"), strings.Join([]string{text("03"), text("06"), text("04"), text("05")}, ":")},
		agentv1.CvmProfile_CVM_PROFILE_NONE:        {text("07")},
		agentv1.CvmProfile_CVM_PROFILE_UNSPECIFIED: nil,
	} {
		if got := measurements(rev, profile); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", profile, got, want)
		}
	}
}
