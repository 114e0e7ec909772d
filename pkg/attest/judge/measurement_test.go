package judge_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
)

func TestMeasurementsAreReadInOneForm(t *testing.T) {
	a, b := strings.Repeat("0a", 48), strings.Repeat("0b", 48)
	for _, good := range []string{a, a + ":" + b + ":" + a + ":" + b, a + "::" + b + ":" + b, a + ":::" + b} {
		m, err := judge.ParseMeasurement(good)
		if err != nil || m.String() != good {
			t.Errorf("%q became %q, %v", good, m, err)
		}
	}
	for _, bad := range []string{"", "0a", a + "00", strings.ToUpper(a), a[:95] + "g", a + ":", a + ":" + b, a + ":" + b + ":" + b + ":" + b + ":" + b, ":" + a + ":" + a + ":" + a, a + ":x::"} {
		if m, err := judge.ParseMeasurement(bad); err == nil {
			t.Errorf("%q was read as %q", bad, m)
		}
	}
}

func FuzzParseMeasurement(f *testing.F) {
	f.Add(strings.Repeat("0a", 48))
	f.Add(strings.Repeat("0a", 48) + "::" + strings.Repeat("0b", 48) + ":")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := judge.ParseMeasurement(text)
		if err != nil {
			return
		}
		again, err := judge.ParseMeasurement(m.String())
		if err != nil || again.String() != m.String() {
			t.Errorf("%q was written as %q, which reads as %q, %v", text, m, again, err)
		}
	})
}

func TestASpecSaysWhatToExpect(t *testing.T) {
	spec := &agentv1.EnclaveSpec{
		Config: []byte("config"), Gpus: 2, ExpectedMeasurements: []string{strings.Repeat("0a", 48)},
		Platform: &agentv1.Platform{Domain: "web.example.test"},
	}
	e, err := judge.ForSpec(spec)
	if err != nil {
		t.Fatal(err)
	}
	if e.ConfigDigest != sha256.Sum256(spec.GetConfig()) || e.PlatformDigest != evidence.PlatformDigest(spec.GetPlatform()) ||
		e.GPUs != 2 || len(e.Measurements) != 1 || e.AnyPlatform || e.AllowDebug {
		t.Errorf("expected %+v of the spec", e)
	}
	spec.ExpectedMeasurements = []string{"0a"}
	if _, err := judge.ForSpec(spec); err == nil {
		t.Error("a measurement of one byte was taken")
	}
}
