package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
	"github.com/casemate-dev/casemate/pkg/release/manifest/manifesttest"
)

var update = flag.Bool("update", false, "rewrite golden files")

var created = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

const configText = `cvm-version: 0.14.12
cpus: 4
memory: 16384
containers:
  - name: api
    image: "registry.example/acme/api@sha256:1111111111111111111111111111111111111111111111111111111111111111"
  - name: side
    image: "registry.example/acme/side@sha256:2222222222222222222222222222222222222222222222222222222222222222"
  - name: twin
    image: "registry.example/acme/api@sha256:1111111111111111111111111111111111111111111111111111111111111111"
shim:
  upstream-port: 8080
`

func theRelease(t testing.TB, text string) release.Release {
	t.Helper()
	c, _, err := release.Parse("casemate.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return release.Release{
		Repository: "https://github.com/acme/api", Tag: "v1.2.3", Commit: strings.Repeat("ab", 20),
		ConfigName: "casemate.yml", Config: c,
	}
}

func machines() []manifest.Machine {
	base := manifest.Machine{
		Shape: "small", Firmware: manifesttest.Firmware(), Kernel: manifesttest.Kernel(), Initrd: []byte("initrd"),
		CommandLine: "readonly=on casemate.config={config}",
	}
	milan, genoa, td := base, base, base
	milan.Platform, milan.VCPUType, milan.GuestFeatures = attest.FormatSEVSNP, "EPYC-Milan", 1
	genoa.Platform, genoa.VCPUType, genoa.GuestFeatures = attest.FormatSEVSNP, "EPYC-Genoa", 1
	td.Platform, td.RTMR0 = attest.FormatTDX, &measure.Digest{9}
	return []manifest.Machine{milan, genoa, td}
}

func built(t testing.TB) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Build(theRelease(t, configText), 7, created, machines())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encoded(t testing.TB, m *manifest.Manifest) []byte {
	t.Helper()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAManifestIsAsWrittenDown(t *testing.T) {
	got := encoded(t, built(t))
	path := filepath.Join("testdata", "manifest.json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("no golden file: run go test -update: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the manifest differs from %s, rewrite it with -update:\n%s", path, got)
	}
	again, err := manifest.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded(t, again), got) {
		t.Error("a manifest that was read is written otherwise")
	}
}

func TestMeasurementsAreThoseOfTheMeasurePackage(t *testing.T) {
	m := built(t)
	line := fmt.Sprintf("readonly=on casemate.config=%x", sha256.Sum256([]byte(configText)))
	boot := &measure.DirectBoot{Kernel: manifesttest.Kernel(), Initrd: []byte("initrd"), Append: line}
	want, err := measure.SNPLaunchDigest(measure.SNPGuest{Firmware: manifesttest.Firmware(), Boot: boot, VCPUs: 4, VCPUType: "EPYC-Milan", GuestFeatures: 1})
	if err != nil {
		t.Fatal(err)
	}
	snp := m.For(attest.FormatSEVSNP, "small")
	if len(snp) != 2 || *snp[0].Measurement != want || snp[0].CommandLine != line {
		t.Errorf("expected on sev-snp: %+v, want %v", snp, want)
	}
	td, err := measure.MeasureTDX(measure.TDXGuest{Firmware: manifesttest.Firmware(), Boot: boot})
	if err != nil {
		t.Fatal(err)
	}
	got := m.For(attest.FormatTDX, "")
	if len(got) != 1 || *got[0].MRTD != td.MRTD || *got[0].RTMR1 != *td.RTMR1 || *got[0].RTMR2 != *td.RTMR2 || *got[0].RTMR0 != (measure.Digest{9}) {
		t.Errorf("expected on tdx: %+v, want %+v", got, td)
	}
}

func TestPoliciesArePinnedOnWhatIsExpected(t *testing.T) {
	m := built(t)
	var snp sevsnp.Policy
	if err := m.PinSNP(&snp, "small"); err != nil || !snp.Measurement.IsSet() || snp.Measurement.IsAny() {
		t.Errorf("measurement %v, %v; want both processors'", snp.Measurement, err)
	}
	if err := snp.Validate(); err != nil {
		t.Error(err)
	}
	var td tdx.Policy
	if err := m.PinTDX(&td, "small"); err != nil || len(td.MRTD.Values) != 1 || len(td.RTMR0.Values) != 1 || len(td.RTMR1.Values) != 1 || len(td.RTMR2.Values) != 1 {
		t.Errorf("policy %+v, %v; want all registers", td, err)
	}
	if err := td.Validate(); err != nil {
		t.Error(err)
	}
	for rule, err := range map[string]error{
		"an unknown shape on SNP": m.PinSNP(&snp, "huge"),
		"an unknown shape on TDX": m.PinTDX(&td, "huge"),
		"TDX without a shape":     m.PinTDX(&td, ""),
	} {
		if err == nil {
			t.Errorf("%s: pinned", rule)
		}
	}
}

func TestASimulatedMachineIsMeasuredAsItsGuestWillState(t *testing.T) {
	r := theRelease(t, configText)
	plain := manifest.Machine{Platform: attest.FormatSimulated, Shape: "dev"}
	debug := plain
	debug.Debug = true
	m, err := manifest.Build(r, 1, created, []manifest.Machine{plain, debug})
	if err != nil {
		t.Fatal(err)
	}
	for _, asDebug := range []bool{false, true} {
		got := m.Of(asDebug)
		want := simulated.MeasurementHex(&agentv1.EnclaveSpec{
			Config: []byte(configText), CvmVersion: "0.14.12", Cpus: 4, MemoryMib: 16384,
			Platform: &agentv1.Platform{Debug: asDebug},
		})
		if len(got) != 1 || got[0].Debug != asDebug || got[0].Measurement.String() != want {
			t.Errorf("debug %v: expected %+v, want %s", asDebug, got, want)
		}
	}
	if got := m.For(attest.FormatSimulated, "dev"); len(got) != 1 || got[0].Debug {
		t.Errorf("for production %+v is expected, want nothing of debug enclaves", got)
	}
}

func TestARepositoryIsOneHoweverItIsReached(t *testing.T) {
	const https = "https://github.com/acme/api"
	for other, same := range map[string]bool{
		"https://github.com/acme/api.git": true, "https://GitHub.com/acme/api/": true, "ssh://git@github.com/acme/api": true,
		"git@github.com:acme/api.git": true, "github.com:acme/api": true,
		"https://github.com/acme/api2": false, "https://github.com/acme": false, "https://evil.com/acme/api": false,
		"https://github.com.evil.com/acme/api": false, "https://github.com:8443/acme/api": false, "/acme/api": false,
		"git@github.com.evil:acme/api": false, "https://evil.com/github.com/acme/api": false, "": false,
		"/github.com/acme/api": false, "file:///github.com/acme/api": false,
	} {
		if got := manifest.SameRepository(https, other); got != same || manifest.SameRepository(other, https) != same {
			t.Errorf("%q and %q: same is %v, want %v", https, other, got, same)
		}
	}
	if !manifest.SameRepository("/srv/git/api", "file:///srv/git/api.git") || manifest.SameRepository("/srv/git/api", "/srv/git/web") {
		t.Error("folders are not told apart by their paths")
	}
}

func TestMachinesThatCantBeMeasuredAreRefused(t *testing.T) {
	r := theRelease(t, configText)
	for rule, change := range map[string]func(*manifest.Machine){
		"no platform":                        func(m *manifest.Machine) { m.Platform = "" },
		"simulated, with files":              func(m *manifest.Machine) { m.Platform = attest.FormatSimulated },
		"no firmware":                        func(m *manifest.Machine) { m.Firmware = nil },
		"unknown processor":                  func(m *manifest.Machine) { m.VCPUType = "EPYC-Vapour" },
		"no shape":                           func(m *manifest.Machine) { m.Shape = "" },
		"a shape with a space":               func(m *manifest.Machine) { m.Shape = "a b" },
		"the config not on its command line": func(m *manifest.Machine) { m.CommandLine = "readonly=on" },
		"a command line of two lines":        func(m *manifest.Machine) { m.CommandLine += "\n" },
	} {
		one := machines()[0]
		change(&one)
		if _, err := manifest.Build(r, 1, created, []manifest.Machine{one}); err == nil {
			t.Errorf("%s: a manifest was made", rule)
		}
	}
	twice := machines()[:1]
	if _, err := manifest.Build(r, 1, created, append(twice, twice...)); err == nil {
		t.Error("one machine twice: a manifest was made")
	}
	if _, err := manifest.Build(r, 1, created, nil); err == nil {
		t.Error("no machine: a manifest was made")
	}
}

func TestManifestsThatMakeNoSenseAreRefused(t *testing.T) {
	digest := measure.Digest{1}
	for rule, change := range map[string]func(*manifest.Manifest){
		"another version":          func(m *manifest.Manifest) { m.Version = 2 },
		"no repository":            func(m *manifest.Manifest) { m.Repository = "" },
		"a password":               func(m *manifest.Manifest) { m.Repository = "https://u:p@host/x" },
		"a user over https":        func(m *manifest.Manifest) { m.Repository = "https://u@host/x" },
		"a query":                  func(m *manifest.Manifest) { m.Repository = "https://host/x?token=1" },
		"no URL":                   func(m *manifest.Manifest) { m.Repository = "https://[" },
		"a space in it":            func(m *manifest.Manifest) { m.Repository = "a b" },
		"no tag":                   func(m *manifest.Manifest) { m.Tag = "" },
		"a tag with a space":       func(m *manifest.Manifest) { m.Tag = "v 1" },
		"a tag with an escape":     func(m *manifest.Manifest) { m.Tag = "v\x1b[31m" },
		"a short commit":           func(m *manifest.Manifest) { m.Commit = "abc" },
		"a commit in capitals":     func(m *manifest.Manifest) { m.Commit = strings.Repeat("AB", 20) },
		"number 0":                 func(m *manifest.Manifest) { m.Number = 0 },
		"a number beyond JSON":     func(m *manifest.Manifest) { m.Number = 1<<53 + 1 },
		"a part of a second":       func(m *manifest.Manifest) { m.Created = created.Add(1) },
		"another time zone":        func(m *manifest.Manifest) { m.Created = created.In(time.FixedZone("", 3600)) },
		"no time":                  func(m *manifest.Manifest) { m.Created = time.Time{} },
		"another config name":      func(m *manifest.Manifest) { m.Config.Name = "x.yml" },
		"no digest":                func(m *manifest.Manifest) { m.Config.Digest = "" },
		"no CVM image":             func(m *manifest.Manifest) { m.Config.CVM = "" },
		"no images":                func(m *manifest.Manifest) { m.Images = nil },
		"an image without digest":  func(m *manifest.Manifest) { m.Images[0] = "acme/api:v1" },
		"images not sorted":        func(m *manifest.Manifest) { m.Images[0], m.Images[1] = m.Images[1], m.Images[0] },
		"an image twice":           func(m *manifest.Manifest) { m.Images[1] = m.Images[0] },
		"nothing expected":         func(m *manifest.Manifest) { m.Expected = nil },
		"too much expected":        func(m *manifest.Manifest) { m.Expected = make([]manifest.Expected, manifest.MaxExpected+1) },
		"an entry twice":           func(m *manifest.Manifest) { m.Expected[1] = m.Expected[0] },
		"no CPUs":                  func(m *manifest.Manifest) { m.Expected[0].CPUs = 0 },
		"an unknown platform":      func(m *manifest.Manifest) { m.Expected[0].Platform = "sgx" },
		"no processor":             func(m *manifest.Manifest) { m.Expected[0].VCPUType = "" },
		"a processor on TDX":       func(m *manifest.Manifest) { m.Expected[2].VCPUType = "x" },
		"no measurement":           func(m *manifest.Manifest) { m.Expected[0].Measurement = nil },
		"a measurement of zeros":   func(m *manifest.Manifest) { m.Expected[0].Measurement = &measure.Digest{} },
		"a measurement on TDX":     func(m *manifest.Manifest) { m.Expected[2].Measurement = &digest },
		"no RTMR1":                 func(m *manifest.Manifest) { m.Expected[2].RTMR1 = nil },
		"RTMR0 on SNP":             func(m *manifest.Manifest) { m.Expected[0].RTMR0 = &digest },
		"no kernel":                func(m *manifest.Manifest) { m.Expected[0].Kernel = "" },
		"another config's digest":  func(m *manifest.Manifest) { m.Config.Digest = "sha256:" + strings.Repeat("00", 32) },
		"a simulated one of files": func(m *manifest.Manifest) { m.Expected[0].Platform = attest.FormatSimulated },
	} {
		m := built(t)
		change(m)
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s: it was encoded", rule)
		}
	}
	m := built(t)
	m.Expected = []manifest.Expected{{Platform: attest.FormatSimulated, Shape: "dev", CPUs: 2, MemoryMiB: 1024, Measurement: &digest}}
	if _, err := manifest.Parse(encoded(t, m)); err != nil {
		t.Errorf("a simulated platform: %v", err)
	}
	m.Repository = "ssh://git@host/acme/api"
	encoded(t, m)
}

func TestAManifestHasOneForm(t *testing.T) {
	good := string(encoded(t, built(t)))
	for rule, text := range map[string]string{
		"cut":                   good[:len(good)/2],
		"without its line end":  strings.TrimSuffix(good, "\n"),
		"two line ends":         good + "\n",
		"text behind it":        good + "{}",
		"space before it":       " " + good,
		"tabs":                  strings.ReplaceAll(good, "  ", "\t"),
		"an unknown member":     strings.Replace(good, `"version": 1`, `"version": 1, "extra": 1`, 1),
		"a member twice":        strings.Replace(good, `"version": 1,`, "\"version\": 1,\n  \"version\": 1,", 1),
		"a member in capitals":  strings.Replace(good, `"version"`, `"Version"`, 1),
		"an escaped letter":     strings.Replace(good, `"v1.2.3"`, `"\u00761.2.3"`, 1),
		"a digest in capitals":  strings.Replace(good, `"mr_td": "`, `"mr_td": "`+"A", 1),
		"a number as exponent":  strings.Replace(good, `"number": 7`, `"number": 7e0`, 1),
		"null":                  "null\n",
		"a list":                "[]\n",
		"nothing":               "",
		"more than it may have": strings.Repeat(" ", manifest.MaxBytes) + good,
	} {
		if text == good {
			t.Fatalf("%s: the test changes nothing", rule)
		}
		if _, err := manifest.Parse([]byte(text)); err == nil {
			t.Errorf("%s: it was read", rule)
		}
	}
}

func FuzzParse(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "manifest.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"version":1,"version":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := manifest.Parse(raw)
		if err != nil {
			return
		}
		if again := encoded(t, m); !bytes.Equal(again, raw) {
			t.Fatalf("two forms of one manifest:\n%q\n%q", raw, again)
		}
	})
}
