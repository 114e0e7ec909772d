package judge_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

func TestGoodEvidenceIsAcceptedAndMarkedAsWhatItIs(t *testing.T) {
	for format, marks := range map[attest.Format][]string{
		attest.FormatSEVSNP: {"simulated"},
		attest.FormatTDX:    {"tcb_not_checked", "simulated"},
	} {
		for _, gpus := range []int{0, 2} {
			l := newLab(t, format, gpus)
			v := l.mustAccept()
			if v.Format != format || !slices.Equal(v.Insecure, marks) {
				t.Errorf("%s: format %s, marks %v, expected %v", format, v.Format, v.Insecure, marks)
			}
			want := []string{
				judge.CheckDocument, judge.CheckMeasurement, "debug_off", judge.CheckDebugEnclave, evidence.CheckNonce, evidence.CheckKeyBinding,
				evidence.CheckReportData, evidence.CheckConfig, evidence.CheckPlatform, judge.CheckGPUs, judge.CheckFreshness,
			}
			if gpus > 0 {
				want = append(want, "gpu0_report_signature", "gpu1_nonce", "devices_distinct")
			}
			for _, name := range want {
				if !slices.ContainsFunc(v.Checks, func(c attest.Check) bool { return c.Name == name }) {
					t.Errorf("%s with %d GPUs: no check %s in the verdict", format, gpus, name)
				}
			}
			if slices.Contains(v.NotPinned, "platform") || slices.Contains(v.NotPinned, "gpus") {
				t.Errorf("%s: %v were not compared", format, v.NotPinned)
			}
		}
	}
}

func TestEachThingThatIsWrongIsRefusedByName(t *testing.T) {
	other := fill(9)
	for name, c := range map[string]struct {
		format attest.Format
		gpus   int
		change func(*lab)
		failed []string
	}{
		"a replayed document": {attest.FormatSEVSNP, 0, func(l *lab) { l.doc = l.show(); l.expect.Nonce = other },
			[]string{"nonce", "report_data", "freshness"}},
		"a replayed document with the new nonce written in": {attest.FormatSEVSNP, 0, func(l *lab) {
			l.doc = l.show()
			l.doc.Nonce, l.expect.Nonce = other, other
		}, []string{"report_data"}},
		"another's TLS key on the connection": {attest.FormatSEVSNP, 0, func(l *lab) { l.doc = l.show(); l.expect.TLSKeyDigest = other },
			[]string{"key_binding", "report_data"}},
		"a document edited to name the relay's key": {attest.FormatTDX, 0, func(l *lab) {
			l.doc = l.show()
			l.doc.TLSKeyDigest, l.expect.TLSKeyDigest = other, other
		}, []string{"report_data"}},
		"another config": {attest.FormatSEVSNP, 0, func(l *lab) { l.doc = l.show(); l.expect.ConfigDigest = other },
			[]string{"config_binding"}},
		"another platform part": {attest.FormatSEVSNP, 0, func(l *lab) { l.doc = l.show(); l.expect.PlatformDigest = other },
			[]string{"host_data", "platform_binding"}},
		"a platform part that was not set at launch (TDX)": {attest.FormatTDX, 0, func(l *lab) {
			l.editQuote = func(q *tdxtest.Quote) { q.Body.MRConfigID[0] ^= 1 }
		}, []string{"mr_config_id", "platform_binding"}},
		"MRCONFIGID with more than the digest": {attest.FormatTDX, 0, func(l *lab) {
			l.editQuote = func(q *tdxtest.Quote) { q.Body.MRConfigID[47] = 1 }
		}, []string{"mr_config_id"}},
		"another measurement": {attest.FormatSEVSNP, 0, func(l *lab) {
			l.editReport = func(r *sevsnp.Report) { r.Measurement[0] ^= 1 }
		}, []string{"measurement"}},
		"no measurement expected": {attest.FormatSEVSNP, 0, func(l *lab) { l.expect.Measurements = nil }, []string{"measurement"}},
		"no measurement expected (TDX)": {attest.FormatTDX, 0, func(l *lab) { l.expect.Measurements = nil },
			[]string{"measurement", "mr_td", "rtmr0", "rtmr1", "rtmr2"}},
		"another kernel (TDX)": {attest.FormatTDX, 0, func(l *lab) {
			l.editQuote = func(q *tdxtest.Quote) { q.Body.RTMR[1][0] ^= 1 }
		}, []string{"measurement", "rtmr1"}},
		"registers of two launches mixed (TDX)": {attest.FormatTDX, 0, func(l *lab) {
			r := digest("rtmr of another")
			l.expect.Measurements[0].RTMR[1] = &r
			l.editQuote = func(q *tdxtest.Quote) { q.Body.RTMR[1] = r }
		}, []string{"measurement", "rtmr1"}},
		"something of its own in RTMR3": {attest.FormatTDX, 0, func(l *lab) {
			l.editQuote = func(q *tdxtest.Quote) { q.Body.RTMR[3][0] = 1 }
		}, []string{"rtmr3"}},
		"debugging by the host": {attest.FormatSEVSNP, 0, func(l *lab) {
			l.editReport = func(r *sevsnp.Report) { r.Policy |= sevsnp.PolicyDebug }
		}, []string{"debug_off"}},
		"debugging by the host (TDX)": {attest.FormatTDX, 0, func(l *lab) {
			l.editQuote = func(q *tdxtest.Quote) { q.Body.TDAttributes[0] = 1 }
		}, []string{"debug_off"}},
		"a debug enclave": {attest.FormatSEVSNP, 0, func(l *lab) {
			l.editDocument = func(d *evidence.Document) { d.Insecure = []string{evidence.MarkDebug} }
		}, []string{"debug_enclave"}},
		"a TCB below the floor": {attest.FormatSEVSNP, 0, func(l *lab) {
			l.config.Policy.SEVSNP.MinimumTCB = &sevsnp.TCB{SNP: 23}
		}, []string{"tcb_floor"}},
		"a report that the host asked for": {attest.FormatSEVSNP, 0, func(l *lab) {
			l.editReport = func(r *sevsnp.Report) { r.VMPL = 0xffffffff }
		}, []string{"vmpl"}},
		"no GPU where one was given":       {attest.FormatSEVSNP, 0, func(l *lab) { l.expect.GPUs = 1 }, []string{"gpu_evidence"}},
		"more GPUs than were given":        {attest.FormatSEVSNP, 2, func(l *lab) { l.expect.GPUs = 1 }, []string{"gpu_evidence"}},
		"GPUs of another nonce":            {attest.FormatSEVSNP, 1, func(l *lab) { l.editDevice = func(s *nvidiatest.ReportSpec) { s.Nonce = other[:] } }, []string{"gpu0_nonce"}},
		"one GPU twice":                    {attest.FormatTDX, 2, oneGPUTwice, []string{"devices_distinct"}},
		"GPU evidence swapped after it":    {attest.FormatSEVSNP, 2, swapDevices, []string{"report_data"}},
		"device evidence that is none":     {attest.FormatSEVSNP, 1, garbageDevice, []string{"gpu_evidence", "report_data"}},
		"a policy without NVIDIA":          {attest.FormatSEVSNP, 1, func(l *lab) { l.config.Policy.NVIDIA = nil }, []string{"policy"}},
		"a policy without AMD":             {attest.FormatSEVSNP, 0, func(l *lab) { l.config.Policy.SEVSNP = nil }, []string{"policy"}},
		"a policy without Intel":           {attest.FormatTDX, 0, func(l *lab) { l.config.Policy.TDX = nil }, []string{"policy"}},
		"an old driver":                    {attest.FormatSEVSNP, 1, func(l *lab) { l.config.Policy.NVIDIA.MinimumDriver = "570.1" }, []string{"gpu0_driver_version"}},
		"a measurement the list lacks":     {attest.FormatSEVSNP, 0, listOthers, []string{"measurement"}},
		"a measurement it lacks (TDX)":     {attest.FormatTDX, 0, listOthersTDX, []string{"measurement", "mr_td", "rtmr0", "rtmr1", "rtmr2"}},
		"a report of another processor":    {attest.FormatSEVSNP, 0, func(l *lab) { l.editDocument = func(d *evidence.Document) { d.Report[0x2a0] ^= 1 } }, []string{"report_signature"}},
		"a signed format without evidence": {attest.FormatTDX, 0, func(l *lab) { l.editDocument = func(d *evidence.Document) { d.Report = []byte{4} } }, []string{"quote_format"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, c.format, c.gpus)
			c.change(l)
			l.mustRefuse(c.failed...)
		})
	}
}

func oneGPUTwice(l *lab) {
	l.editDocument = nil
	l.gpus = 1
	d := l.show()
	l.gpus = 2
	d.DeviceEvidence = append(d.DeviceEvidence, d.DeviceEvidence[0])
	l.quote(d)
	l.doc = d
}

func swapDevices(l *lab) {
	l.editDocument = func(d *evidence.Document) { slices.Reverse(d.DeviceEvidence) }
}

func garbageDevice(l *lab) {
	l.editDocument = func(d *evidence.Document) { d.DeviceEvidence = [][]byte{[]byte("[]")} }
}

func listOthers(l *lab) {
	d := digest("listed")
	l.config.Policy.SEVSNP.Measurement = sevsnp.OneOf(d[:])
}

func listOthersTDX(l *lab) {
	d := digest("listed")
	l.config.Policy.TDX.MRTD = tdx.OneOf(d[:])
}

func TestAListNarrowsWhatIsExpected(t *testing.T) {
	d, a := digest("launch"), digest("another")
	l := newLab(t, attest.FormatSEVSNP, 0)
	l.config.Policy.SEVSNP.Measurement = sevsnp.OneOf(d[:], a[:])
	l.mustAccept()
	l = newLab(t, attest.FormatTDX, 0)
	l.config.Policy.TDX.MRTD = tdx.OneOf(d[:])
	l.mustAccept()
	l = newLab(t, attest.FormatTDX, 0)
	l.expect.Measurements[1].RTMR[0] = nil
	l.mustRefuse("rtmr0")
	l = newLab(t, attest.FormatTDX, 0)
	l.expect.Measurements[0].RTMR[0] = nil
	l.mustAccept() // what the other launch leaves open is not this one's
	l = newLab(t, attest.FormatTDX, 0)
	l.expect.Measurements[1].RTMR[0] = nil
	l.config.Policy.TDX.RTMR0 = tdx.AnyValue()
	if v := l.mustAccept(); !slices.Contains(v.NotPinned, "rtmr0") {
		t.Errorf("not pinned is %v, expected rtmr0 in it", v.NotPinned)
	}
}

func TestASimulatedRootCountsOnlyWhereThePolicyNamesIt(t *testing.T) {
	for format, check := range map[attest.Format]string{attest.FormatSEVSNP: "signature_chain", attest.FormatTDX: "pck_chain"} {
		l := newLab(t, format, 0)
		l.config.Policy.Simulated.Roots = l.config.Policy.Simulated.Roots[2:]
		if v := l.verdict(); v.Accepted || v.Failed()[0].Name != check {
			t.Errorf("%s under a root that isn't named: %v, expected %s to fail", format, v.Err(), check)
		}
		l = newLab(t, format, 0)
		l.config.Policy.Simulated = nil
		l.config.Policy.SEVSNP.AllowSimulated = true
		if v := l.verdict(); v.Accepted {
			t.Errorf("%s was accepted by a policy that names no root", format)
		}
	}
	l := newLab(t, attest.FormatSEVSNP, 1)
	l.config.Policy.Simulated.Roots = l.config.Policy.Simulated.Roots[:2]
	l.config.Policy.NVIDIA.DeviceRoots = []string{policy.Fingerprint(l.nvidia.DeviceRoot.Cert)}
	l.mustRefuse("gpu0_certificate_chain")
	l = newLab(t, attest.FormatSEVSNP, 0)
	l.config.SimulatedRoots = l.config.SimulatedRoots[1:]
	if _, err := judge.New(l.config); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a named root that wasn't given: error %v", err)
	}
}

func TestUnsignedEvidenceIsAcceptedOnlyWhereThePolicySaysSo(t *testing.T) {
	l := newLab(t, attest.FormatSimulated, 0)
	r := simulated.Report{Measurement: digest("launch"), HostData: l.expect.PlatformDigest, Issued: now}
	d := &evidence.Document{
		Format: attest.FormatSimulated, Nonce: l.expect.Nonce, TLSKeyDigest: l.expect.TLSKeyDigest,
		ConfigDigest: l.expect.ConfigDigest, PlatformDigest: l.expect.PlatformDigest, Insecure: []string{evidence.MarkSimulated},
	}
	r.ReportData = d.ReportData()
	d.Report = r.Encode()
	l.doc = d
	l.mustRefuse(simulated.CheckInsecureMode)
	l.config.Policy.Simulated.Unsigned = true
	if v := l.mustAccept(); !slices.Equal(v.Insecure, []string{"simulated"}) {
		t.Errorf("marks %v, expected simulated", v.Insecure)
	}
}

func TestWhoCannotKnowSomethingSaysSoAndTheVerdictToo(t *testing.T) {
	for _, format := range []attest.Format{attest.FormatSEVSNP, attest.FormatTDX} {
		l := newLab(t, format, 1)
		l.doc = l.show()
		l.expect.PlatformDigest, l.expect.AnyPlatform, l.expect.GPUs = [32]byte{}, true, judge.AnyGPUs
		v := l.mustAccept()
		if !slices.Contains(v.NotPinned, "platform") || !slices.Contains(v.NotPinned, "gpus") {
			t.Errorf("%s: not pinned is %v, expected platform and gpus in it", format, v.NotPinned)
		}
		l.doc.PlatformDigest[0] ^= 1
		l.mustRefuse(evidence.CheckPlatform)
	}
	l := newLab(t, attest.FormatSEVSNP, 0)
	l.expect.GPUs = judge.AnyGPUs
	l.mustAccept()
}

func TestAnAllowedDebugEnclaveIsMarked(t *testing.T) {
	l := newLab(t, attest.FormatSEVSNP, 0)
	l.expect.AllowDebug = true
	l.editDocument = func(d *evidence.Document) { d.Insecure = []string{evidence.MarkDebug} }
	if v := l.mustAccept(); !slices.Equal(v.Insecure, []string{"simulated", "debug"}) {
		t.Errorf("marks %v, expected simulated and debug", v.Insecure)
	}
}

func TestTheZeroJudgeAcceptsNothing(t *testing.T) {
	j, err := judge.New(judge.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []attest.Format{attest.FormatSEVSNP, attest.FormatTDX} {
		l := newLab(t, format, 0)
		if v := j.VerifyDocument(context.Background(), l.show(), l.expect); v.Accepted {
			t.Errorf("%s was accepted without a policy", format)
		}
	}
	for name, raw := range map[string]string{"nothing": "", "no document": "{}", "an array": "[]"} {
		if v := j.Verify(context.Background(), []byte(raw), judge.Expect{}); v.Accepted || v.Failed()[0].Name != judge.CheckDocument {
			t.Errorf("%s: verdict %+v, expected %s to fail", name, v, judge.CheckDocument)
		}
	}
	l := newLab(t, attest.FormatSEVSNP, 0)
	d := l.show()
	d.Format = attest.FormatNVIDIA
	if v := l.judge().VerifyDocument(context.Background(), d, l.expect); v.Accepted {
		t.Error("a document of GPUs alone was accepted as an enclave")
	}
}

func TestWhatOnlyTheCallerKnowsCantBePinned(t *testing.T) {
	b := make([]byte, 64)
	for key, change := range map[string]func(*policy.Policy){
		"sev_snp.host_data":   func(p *policy.Policy) { p.SEVSNP.HostData = sevsnp.OneOf(b[:32]) },
		"sev_snp.report_data": func(p *policy.Policy) { p.SEVSNP.ReportData = sevsnp.OneOf(b) },
		"tdx.mr_config_id":    func(p *policy.Policy) { p.TDX.MRConfigID = tdx.OneOf(b[:48]) },
		"tdx.report_data":     func(p *policy.Policy) { p.TDX.ReportData = tdx.OneOf(b) },
		"simulated":           func(p *policy.Policy) { p.Simulated = &policy.Simulated{Roots: []string{"ab"}} },
	} {
		p := judge.Vendors()
		change(p)
		if _, err := judge.New(judge.Config{Policy: p}); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: error %v, expected one that names it", key, err)
		}
	}
	if _, err := judge.New(judge.Config{Policy: judge.Vendors()}); err != nil {
		t.Errorf("the policy for real hardware: %v", err)
	}
}

func TestRootsAreReadStrictly(t *testing.T) {
	l := newLab(t, attest.FormatSEVSNP, 0)
	text := append(l.amd.RootPEM(), tdxtest.ChainPEM(l.intel.Root.Cert)...)
	roots, err := judge.ParseRoots(text)
	if err != nil || len(roots) != 2 {
		t.Fatalf("%d roots, %v, expected 2", len(roots), err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "text": []byte("roots"), "text behind": append(slices.Clone(text), 'x'),
		"a broken one": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
		"a key":        []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
	} {
		if got, err := judge.ParseRoots(bad); err == nil {
			t.Errorf("%s was read as %d roots", name, len(got))
		}
	}
	end := &x509.Certificate{Raw: []byte("x"), PublicKey: "no key"}
	p := &policy.Policy{Simulated: &policy.Simulated{Roots: []string{policy.Fingerprint(end)}}}
	if _, err := judge.New(judge.Config{Policy: p, SimulatedRoots: []*x509.Certificate{end}}); err == nil {
		t.Error("a root with a key of no vendor's kind was trusted")
	}
}

func TestTheRegistersOfASimulatedLaunchFollowFromItsMeasurement(t *testing.T) {
	shows := func(registers [3][48]byte) *lab {
		l := newLab(t, attest.FormatTDX, 0)
		for i := range l.expect.Measurements {
			l.expect.Measurements[i].RTMR = [3]*judge.Digest{}
		}
		l.editQuote = func(q *tdxtest.Quote) { copy(q.Body.RTMR[:], registers[:]) }
		return l
	}
	good := simulated.Registers(digest("launch"))
	for _, key := range shows(good).mustAccept().NotPinned {
		if strings.HasPrefix(key, "rtmr") {
			t.Errorf("%s is not compared", key)
		}
	}
	for i := range good {
		bad := good
		bad[i][0] ^= 1
		shows(bad).mustRefuse("measurement", fmt.Sprint("rtmr", i))
	}
	shows([3][48]byte{}).mustRefuse("measurement", "rtmr0", "rtmr1", "rtmr2")
	// Those of another launch that is expected.
	shows(simulated.Registers(digest("another"))).mustRefuse("measurement", "rtmr0", "rtmr1", "rtmr2")
}
