package simulated

import (
	"encoding/hex"
	"slices"
	"testing"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func spec() *agentv1.EnclaveSpec {
	return &agentv1.EnclaveSpec{
		Config: []byte("config"), CvmVersion: "0.14.12", Cpus: 2, MemoryMib: 1024, Gpus: 1,
		Platform: &agentv1.Platform{ClusterId: "c"},
	}
}

// genuine returns evidence and the expectation that accepts it.
func genuine(s *agentv1.EnclaveSpec) (*evidence.Document, Report, Expect) {
	shape := ShapeOf(s)
	d := &evidence.Document{
		Format: attest.FormatSimulated, Nonce: [32]byte{1}, TLSKeyDigest: [32]byte{2},
		ConfigDigest: shape.ConfigDigest, PlatformDigest: evidence.PlatformDigest(s.GetPlatform()),
		Insecure: []string{evidence.MarkSimulated},
	}
	r := Report{
		Measurement: Measurement(shape), HostData: d.PlatformDigest,
		ReportData: d.ReportData(), Debug: shape.Debug, Issued: now,
	}
	return d, r, Expect{
		Nonce: d.Nonce, TLSKeyDigest: d.TLSKeyDigest, ConfigDigest: d.ConfigDigest,
		PlatformDigest: d.PlatformDigest, Measurements: []string{MeasurementHex(s)}, AllowSimulated: true,
	}
}

func failed(v *attest.Verdict) []string {
	var names []string
	for _, c := range v.Failed() {
		names = append(names, c.Name)
	}
	return names
}

func TestGenuineEvidenceIsAcceptedAndMarked(t *testing.T) {
	d, r, e := genuine(spec())
	d.Report = r.Encode()
	v := Verify(d, e, now)
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.Insecure, []string{"simulated"}) {
		t.Errorf("insecure marks are %v, expected simulated", v.Insecure)
	}
	want := []string{"evidence_format", "insecure_mode", "report_integrity", "nonce", "key_binding", "report_data",
		"config_binding", "platform_binding", "measurement", "debug_off", "freshness"}
	var got []string
	for _, c := range v.Checks {
		got = append(got, c.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("checks are %v, expected %v", got, want)
	}
}

func TestEvidenceIsRefusedByTheCheckThatItFails(t *testing.T) {
	type args struct {
		d *evidence.Document
		r *Report
		e *Expect
	}
	for rule, c := range map[string]struct {
		change func(args)
		fails  []string
	}{
		"simulated evidence under a policy that does not name it": {
			func(a args) { a.e.AllowSimulated = false }, []string{"insecure_mode"}},
		"evidence of another format": {func(a args) { a.d.Format = attest.FormatTDX }, []string{"evidence_format"}},
		"an older answer":            {func(a args) { a.e.Nonce[0] = 7 }, []string{"nonce", "report_data"}},
		"a man in the middle":        {func(a args) { a.e.TLSKeyDigest[0] = 7 }, []string{"key_binding", "report_data"}},
		"a document edited to name his key": {
			func(a args) { a.e.TLSKeyDigest[0], a.d.TLSKeyDigest[0] = 7, 7 }, []string{"report_data"}},
		"a report over something else": {func(a args) { a.r.ReportData[0] ^= 1 }, []string{"report_data"}},
		"another config":               {func(a args) { a.d.ConfigDigest[0] ^= 1 }, []string{"config_binding"}},
		"another deployment's platform part": {
			func(a args) { a.e.PlatformDigest[0] ^= 1 }, []string{"platform_binding"}},
		"a platform digest that differs from the report's": {
			func(a args) { a.r.HostData[0] ^= 1 }, []string{"platform_binding"}},
		"another measurement": {func(a args) { a.r.Measurement[0] ^= 1 }, []string{"measurement"}},
		"no expected measurement": {
			func(a args) { a.e.Measurements = nil }, []string{"measurement"}},
		"an expected measurement in upper case": {
			func(a args) { a.e.Measurements = []string{"AB" + a.e.Measurements[0][2:]} }, []string{"measurement"}},
		"a debug enclave":            {func(a args) { a.r.Debug = true }, []string{"debug_off"}},
		"one that calls itself that": {func(a args) { a.d.Insecure = []string{"debug"} }, []string{"debug_off"}},
		"a report from yesterday":    {func(a args) { a.r.Issued = now.Add(-24 * time.Hour) }, []string{"freshness"}},
		"a report from tomorrow":     {func(a args) { a.r.Issued = now.Add(24 * time.Hour) }, []string{"freshness"}},
	} {
		t.Run(rule, func(t *testing.T) {
			d, r, e := genuine(spec())
			c.change(args{d, &r, &e})
			d.Report = r.Encode()
			v := Verify(d, e, now)
			if v.Accepted || !slices.Equal(failed(v), c.fails) {
				t.Errorf("accepted %v, failed checks %v, expected %v", v.Accepted, failed(v), c.fails)
			}
		})
	}
}

func TestAllowedDebugEnclaveIsMarkedAndMeasuredApart(t *testing.T) {
	s := spec()
	s.Platform.Debug = true
	if MeasurementHex(s) == MeasurementHex(spec()) {
		t.Error("a debug enclave has the production enclave's measurement")
	}
	d, r, e := genuine(s)
	d.Report, e.AllowDebug = r.Encode(), true
	v := Verify(d, e, now)
	if v.Err() != nil || !slices.Equal(v.Insecure, []string{"simulated", "debug"}) {
		t.Errorf("verdict %v with marks %v, expected accepted and both marks", v.Err(), v.Insecure)
	}
}

func TestNothingIsRefused(t *testing.T) {
	if Verify(nil, Expect{AllowSimulated: true}, now).Accepted {
		t.Error("no evidence was accepted")
	}
	d, r, _ := genuine(spec())
	d.Report = r.Encode()
	if Verify(d, Expect{AllowSimulated: true, AllowDebug: true}, now).Accepted {
		t.Error("an empty expectation accepted evidence")
	}
}

func TestEveryFieldOfTheShapeIsMeasured(t *testing.T) {
	seen := map[string]string{MeasurementHex(spec()): "the original"}
	for name, change := range map[string]func(*agentv1.EnclaveSpec){
		"config": func(s *agentv1.EnclaveSpec) { s.Config = []byte("x") },
		"cvm":    func(s *agentv1.EnclaveSpec) { s.CvmVersion = "0.14.13" },
		"cpus":   func(s *agentv1.EnclaveSpec) { s.Cpus = 4 },
		"memory": func(s *agentv1.EnclaveSpec) { s.MemoryMib = 2048 },
		"gpus":   func(s *agentv1.EnclaveSpec) { s.Gpus = 8 },
		"debug":  func(s *agentv1.EnclaveSpec) { s.Platform.Debug = true },
	} {
		s := spec()
		change(s)
		m := MeasurementHex(s)
		if other, taken := seen[m]; taken {
			t.Errorf("changing %s gives the measurement of %s", name, other)
		}
		seen[m] = name
	}
	other := spec()
	other.Platform.Domain, other.Tag, other.ExpectedMeasurements = "x", "v2", []string{"y"}
	if MeasurementHex(other) != MeasurementHex(spec()) {
		t.Error("what belongs to the deployment changes the release's measurement")
	}
}

func TestReportIsReadAsItWasWritten(t *testing.T) {
	_, r, _ := genuine(spec())
	r.Debug = true
	got, err := ParseReport(r.Encode())
	if err != nil || got != r {
		t.Errorf("read %+v (%v), wrote %+v", got, err, r)
	}
}

func TestEveryChangedBitOfAReportIsRefused(t *testing.T) {
	_, r, _ := genuine(spec())
	good := r.Encode()
	for i := range good {
		for bit := range 8 {
			bad := slices.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := ParseReport(bad); err == nil {
				t.Fatalf("byte %d bit %d: a changed report was read", i, bit)
			}
		}
		if _, err := ParseReport(good[:i]); err == nil {
			t.Fatalf("a report of %d bytes was read", i)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	_, r, _ := genuine(spec())
	f.Add(r.Encode())
	f.Add([]byte(magic))
	f.Add(fixed(r, func(b []byte) { b[len(magic)+48+32+64] = 0xff }))
	f.Add(fixed(r, func(b []byte) { b[0] = 'x' }))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseReport(raw)
		if err == nil && hex.EncodeToString(r.Encode()) != hex.EncodeToString(raw) {
			t.Errorf("%x is read as %+v, which is written otherwise", raw, r)
		}
	})
}

// fixed changes a report's body and makes its digest fit again.
func fixed(r Report, change func([]byte)) []byte {
	b := r.Encode()
	body := b[:reportSize-32]
	change(body)
	sum := checksum(body)
	copy(b[reportSize-32:], sum[:])
	return b
}

func TestReportOutOfRangeIsRefused(t *testing.T) {
	_, r, _ := genuine(spec())
	for name, raw := range map[string][]byte{
		"unknown flags": fixed(r, func(b []byte) { b[len(magic)+144] = 0x80 }),
		"far future":    fixed(r, func(b []byte) { b[len(magic)+152] = 0x80 }),
		"other magic":   fixed(r, func(b []byte) { b[0] = 'x' }),
	} {
		if _, err := ParseReport(raw); err == nil {
			t.Errorf("%s: was read", name)
		}
	}
}
