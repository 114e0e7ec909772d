package judge_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// vendors are the simulated vendors, made once: their keys take a second.
type vendors struct {
	amd    *sevsnptest.Signer
	intel  *tdxtest.PKI
	td     *tdxtest.Platform
	nvidia *nvidiatest.PKI
}

var allVendors = sync.OnceValues(func() (*vendors, error) {
	amd, err := sevsnptest.NewSigner(sevsnp.Genoa, now.AddDate(0, 0, -1))
	if err != nil {
		return nil, err
	}
	intel, err := tdxtest.NewPKI(now)
	if err != nil {
		return nil, err
	}
	td, err := intel.NewPlatform(tdxtest.DefaultExtensions())
	if err != nil {
		return nil, err
	}
	cards, err := nvidiatest.New([]byte("casemate judge tests"))
	return &vendors{amd, intel, td, cards}, err
})

func (v *vendors) roots() []*x509.Certificate {
	return []*x509.Certificate{v.amd.Roots()[0].Certificate, v.intel.Root.Cert, v.nvidia.DeviceRoot.Cert, v.nvidia.RIMRoot.Cert}
}

// lab is an enclave, what is expected of it, and who judges. A case changes one
// thing in it.
type lab struct {
	t testing.TB
	*vendors
	format attest.Format
	gpus   int
	config judge.Config
	expect judge.Expect
	doc    *evidence.Document

	// editReport, editQuote and editDevice change what is signed, editDocument the
	// document thereafter.
	editReport   func(*sevsnp.Report)
	editQuote    func(*tdxtest.Quote)
	editDevice   func(*nvidiatest.ReportSpec)
	editDocument func(*evidence.Document)
}

func fill(n byte) (out [32]byte) {
	for i := range out {
		out[i] = n
	}
	return out
}

func digest(text string) judge.Digest { return sha512.Sum384([]byte(text)) }

func newLab(t testing.TB, format attest.Format, gpus int) *lab {
	t.Helper()
	v, err := allVendors()
	if err != nil {
		t.Fatal(err)
	}
	off := false
	p := judge.Vendors()
	p.SEVSNP.RequireCRL = &off
	p.TDX.TCB, p.TDX.MinimumTEETCBSVN = tdx.ChainOnly, tdx.AnyValue()
	p.NVIDIA.RequireRIMs, p.NVIDIA.RequireOCSP = &off, &off
	p.Simulated = &policy.Simulated{}
	for _, root := range v.roots() {
		p.Simulated.Roots = append(p.Simulated.Roots, policy.Fingerprint(root))
	}
	l := &lab{t: t, vendors: v, format: format, gpus: gpus}
	l.config = judge.Config{Policy: p, SimulatedRoots: v.roots(), Now: func() time.Time { return now }}
	r0, r1, r2 := digest("rtmr0"), digest("rtmr1"), digest("rtmr2")
	l.expect = judge.Expect{
		Nonce: fill(1), TLSKeyDigest: fill(2), ConfigDigest: sha256.Sum256([]byte("config")), PlatformDigest: fill(4),
		Measurements: []judge.Measurement{{Launch: digest("another")}, {Launch: digest("launch")}}, GPUs: gpus,
	}
	if format == attest.FormatTDX {
		for i := range l.expect.Measurements {
			l.expect.Measurements[i].RTMR = [3]*judge.Digest{&r0, &r1, &r2}
		}
	}
	return l
}

// show makes the enclave's document.
func (l *lab) show() *evidence.Document {
	l.t.Helper()
	d := &evidence.Document{
		Format: l.format, Nonce: l.expect.Nonce, TLSKeyDigest: l.expect.TLSKeyDigest,
		ConfigDigest: l.expect.ConfigDigest, PlatformDigest: l.expect.PlatformDigest,
	}
	for n := range l.gpus {
		d.DeviceEvidence = append(d.DeviceEvidence, l.device(byte(n)))
	}
	if l.format == attest.FormatTDX {
		l.quote(d)
	} else {
		l.report(d)
	}
	if l.editDocument != nil {
		l.editDocument(d)
	}
	return d
}

func (l *lab) report(d *evidence.Document) {
	r := l.amd.Report()
	r.ReportData, r.HostData, r.Measurement = d.ReportData(), d.PlatformDigest, digest("launch")
	if l.editReport != nil {
		l.editReport(r)
	}
	ev, err := l.amd.Sign(r)
	if err != nil {
		l.t.Fatal(err)
	}
	d.Report, d.Certificates = ev.Report, [][]byte{ev.VEK}
	for block, rest := pem.Decode(ev.Chain); block != nil; block, rest = pem.Decode(rest) {
		d.Certificates = append(d.Certificates, block.Bytes)
	}
}

func (l *lab) quote(d *evidence.Document) {
	q := tdxtest.NewQuote(4, 2)
	q.Body.ReportData, q.Body.MRTD = d.ReportData(), digest("launch")
	copy(q.Body.MRConfigID[:], d.PlatformDigest[:])
	q.Body.RTMR = [4][48]byte{digest("rtmr0"), digest("rtmr1"), digest("rtmr2"), {}}
	if l.editQuote != nil {
		l.editQuote(q)
	}
	var err error
	if d.Report, err = l.td.Quote(q); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) device(n byte) []byte {
	device, err := l.nvidia.Device(nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{0x48, n}})
	if err != nil {
		l.t.Fatal(err)
	}
	spec := nvidiatest.ReportSpec{Nonce: l.expect.Nonce[:]}
	if l.editDevice != nil {
		l.editDevice(&spec)
	}
	e, err := device.Evidence(spec)
	if err != nil {
		l.t.Fatal(err)
	}
	raw, err := nvidia.EncodeEvidence(nvidia.Evidence{Devices: []nvidia.Device{e}})
	if err != nil {
		l.t.Fatal(err)
	}
	return raw
}

func (l *lab) judge() *judge.Judge {
	l.t.Helper()
	j, err := judge.New(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	return j
}

// verdict judges what the enclave shows, as it goes over the wire.
func (l *lab) verdict() *attest.Verdict {
	l.t.Helper()
	if l.doc == nil {
		l.doc = l.show()
	}
	raw, err := l.doc.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	return l.judge().Verify(context.Background(), raw, l.expect)
}

func (l *lab) mustAccept() *attest.Verdict {
	l.t.Helper()
	v := l.verdict()
	if !v.Accepted {
		l.t.Fatalf("refused: %v", v.Err())
	}
	return v
}

// mustRefuse wants exactly these checks to fail.
func (l *lab) mustRefuse(checks ...string) *attest.Verdict {
	l.t.Helper()
	v := l.verdict()
	var failed []string
	for _, c := range v.Failed() {
		failed = append(failed, c.Name)
	}
	slices.Sort(failed)
	failed = slices.Compact(failed)
	slices.Sort(checks)
	if !slices.Equal(failed, checks) {
		l.t.Errorf("failed checks are %v, expected %v: %v", failed, checks, v.Err())
	}
	return v
}

// shelf is a Getter that has some documents and counts what is asked of it.
type shelf struct {
	documents map[collateral.Kind]*collateral.Document
	byFile    map[string]*collateral.Document
	asked     []collateral.Kind
}

func (s *shelf) Get(_ context.Context, r collateral.Request) (*collateral.Document, error) {
	s.asked = append(s.asked, r.Kind)
	if d := s.byFile[r.File]; d != nil {
		return d, nil
	}
	if d := s.documents[r.Kind]; d != nil {
		return d, nil
	}
	return nil, errors.New("the shelf is empty")
}
