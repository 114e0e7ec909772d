package tsm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	sevabi "github.com/google/go-sev-guest/client/linuxabi"
	tdxabi "github.com/google/go-tdx-guest/client/linuxabi"
	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/internal/guest/tsm/tsmtest"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var simulatedChip = sync.OnceValues(func() (*sevsnptest.Chip, error) {
	vendor, err := sevsnptest.NewSigner(sevsnp.Genoa, time.Now().Add(-time.Hour))
	if err != nil {
		return nil, err
	}
	return vendor.NewChip()
})

func chip(t *testing.T) *sevsnptest.Chip {
	t.Helper()
	c, err := simulatedChip()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// snp signs as a processor whose guest was launched with this host data.
func snp(t *testing.T, hostData [32]byte) tsmtest.Processor {
	c := chip(t)
	certs := c.Certificates()
	return func(data [64]byte) ([]byte, []byte, error) {
		r := c.Report()
		r.ReportData, r.HostData = data, hostData
		raw, err := c.Sign(r)
		return raw, (&sevsnp.CertTable{VCEK: certs[0], ASK: certs[1], ARK: certs[2]}).Marshal(), err
	}
}

func td(t *testing.T, change func(*tdxtest.Quote)) tsmtest.Processor {
	t.Helper()
	pki, err := tdxtest.NewPKI(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	platform, err := pki.NewPlatform(tdxtest.DefaultExtensions())
	if err != nil {
		t.Fatal(err)
	}
	return func(data [64]byte) ([]byte, []byte, error) {
		q := tdxtest.NewQuote(4, 2)
		q.Body.ReportData = data
		change(q)
		raw, err := platform.Quote(q)
		return raw, nil, err
	}
}

func TestReportsComeThroughConfigfs(t *testing.T) {
	host := [32]byte{7, 8}
	for name, c := range map[string]struct {
		provider     string
		ask          tsmtest.Processor
		format       attest.Format
		certificates int
	}{
		"SEV-SNP": {"sev_guest", snp(t, host), attest.FormatSEVSNP, 3},
		"TDX":     {"tdx_guest", td(t, func(q *tdxtest.Quote) { copy(q.Body.MRConfigID[:], host[:]) }), attest.FormatTDX, 0},
	} {
		t.Run(name, func(t *testing.T) {
			kernel := tsmtest.New(c.provider, c.ask)
			s, err := New(Config{Client: kernel, Devices: func(_ context.Context, nonce [32]byte) ([][]byte, error) { return [][]byte{nonce[:]}, nil }})
			if err != nil || s.Format() != c.format {
				t.Fatalf("format %v, %v", s, err)
			}
			if got, err := s.HostData(t.Context()); err != nil || got != host {
				t.Errorf("host data %x, %v, expected %x", got, err, host)
			}
			raw, certs, err := s.Report(t.Context(), [64]byte{1, 2, 3})
			if err != nil || len(certs) != c.certificates {
				t.Errorf("%d certificates, %v, expected %d", len(certs), err, c.certificates)
			}
			if f, err := parse(c.format, raw); err != nil || f.reportData != [64]byte{1, 2, 3} {
				t.Errorf("the report is over %x, %v", f.reportData, err)
			}
			if devices, err := s.Devices(t.Context(), [32]byte{9}); err != nil || len(devices) != 1 || devices[0][0] != 9 {
				t.Errorf("devices %x, %v", devices, err)
			}
			if n := kernel.Entries(); n != 0 {
				t.Errorf("%d entries are left in the kernel", n)
			}
		})
	}
}

func TestManyMayAskAtOnce(t *testing.T) {
	s, err := New(Config{Client: tsmtest.New("sev_guest", snp(t, [32]byte{}))})
	if err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	for i := range 8 {
		asking.Go(func() {
			if _, _, err := s.Report(t.Context(), [64]byte{byte(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
}

func TestWhatIsWrongWithAReportIsTold(t *testing.T) {
	good := snp(t, [32]byte{})
	garbled := func(change func(raw, aux []byte) ([]byte, []byte)) tsmtest.Processor {
		return func(data [64]byte) ([]byte, []byte, error) {
			raw, aux, err := good(data)
			raw, aux = change(raw, aux)
			return raw, aux, err
		}
	}
	for name, c := range map[string]struct {
		provider string
		ask      tsmtest.Processor
		want     string
	}{
		"the kernel fails": {"sev_guest", func([64]byte) ([]byte, []byte, error) { return nil, nil, syscall.EIO }, "input/output error"},
		"a report over other data": {"sev_guest", func([64]byte) ([]byte, []byte, error) { return good([64]byte{99}) },
			"other data than was asked"},
		"half a report": {"sev_guest", garbled(func(raw, aux []byte) ([]byte, []byte) { return raw[:600], aux }), "read the report"},
		"certificates that can't be read": {"sev_guest", garbled(func(raw, aux []byte) ([]byte, []byte) { return raw, aux[:30] }),
			"read the host's certificates"},
		"a quote that is none": {"tdx_guest", good, "read the quote"},
	} {
		s, err := New(Config{Client: tsmtest.New(c.provider, c.ask)})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Report(t.Context(), [64]byte{1}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q in it", name, err, c.want)
		}
	}
	if _, err := New(Config{Client: tsmtest.New("arm_cca_guest", good)}); err == nil || !strings.Contains(err.Error(), "arm_cca_guest") {
		t.Errorf("an unknown provider: %v", err)
	}
	s, err := New(Config{Client: tsmtest.New("tdx_guest", td(t, func(q *tdxtest.Quote) { q.Body.MRConfigID[40] = 1 }))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.HostData(t.Context()); err == nil || !strings.Contains(err.Error(), "MRCONFIGID") {
		t.Errorf("an MRCONFIGID that is no digest: %v", err)
	}
}

func TestAHostWithoutCertificatesIsNoError(t *testing.T) {
	good := snp(t, [32]byte{})
	s, err := New(Config{Client: tsmtest.New("sev_guest", func(data [64]byte) ([]byte, []byte, error) {
		raw, _, err := good(data)
		return raw, (&sevsnp.CertTable{ASK: []byte("ask")}).Marshal(), err
	})})
	if err != nil {
		t.Fatal(err)
	}
	if _, certs, err := s.Report(t.Context(), [64]byte{}); err != nil || certs != nil {
		t.Errorf("certificates %x, %v, expected none", certs, err)
	}
}

func TestAKernelThatHangsHoldsNobody(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan struct{}, 1)
	good := snp(t, [32]byte{})
	s, err := New(Config{Client: tsmtest.New("sev_guest", func(data [64]byte) ([]byte, []byte, error) {
		asked <- struct{}{}
		<-release
		return good(data)
	})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, _, err := s.Report(ctx, [64]byte{}); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever asked got %v, expected to be let go", err)
	}
	late, end := context.WithCancel(t.Context())
	end()
	if _, _, err := s.Report(late, [64]byte{}); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever waits behind got %v, expected to be let go", err)
	}
	close(release)
	if _, _, err := s.Report(t.Context(), [64]byte{1}); err != nil {
		t.Errorf("once the kernel answers again: %v", err)
	}
}

func TestDeviceFilesStandInForConfigfs(t *testing.T) {
	if _, _, err := openDevices(t.TempDir()); !errors.Is(err, ErrNoTEE) {
		t.Errorf("a machine without anything: %v, expected %v", err, ErrNoTEE)
	}
	for path, format := range map[string]attest.Format{sevDevice: attest.FormatSEVSNP, tdxDevice: attest.FormatTDX} {
		root := t.TempDir()
		file := filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		got, read, err := openDevices(root)
		if err != nil || got != format {
			t.Errorf("%s gives %s, %v, expected %s", path, got, err, format)
			continue
		}
		// A plain file knows no such call.
		if _, _, err := read([64]byte{}); !errors.Is(err, syscall.ENOTTY) {
			t.Errorf("%s: error %v, expected %v", path, err, syscall.ENOTTY)
		}
	}
}

// sevDriver answers as /dev/sev-guest does.
func sevDriver(t *testing.T, certificates bool, firmware uint64) ioctl {
	process := snp(t, [32]byte{5})
	return func(_ string, command uintptr, arg unsafe.Pointer) error {
		m := (*sevabi.SnpUserGuestRequestABI)(arg)
		var data [64]byte
		var table []byte
		switch command {
		case sevabi.IocSnpGetExtendedReport:
			if !certificates {
				return syscall.EIO
			}
			request := (*sevabi.SnpExtendedReportReqABI)(m.ReqData)
			data = request.Data.ReportData
			table = unsafe.Slice((*byte)(request.CertsAddress), request.CertsLength)
		case sevabi.IocSnpGetReport:
			data = (*sevabi.SnpReportReqABI)(m.ReqData).ReportData
		default:
			return syscall.ENOTTY
		}
		raw, aux, err := process(data)
		copy(table, aux)
		copy((*sevabi.SnpReportRespABI)(m.RespData).Data[:], raw)
		m.FwErr = firmware
		return err
	}
}

func TestTheSEVDeviceIsAsked(t *testing.T) {
	for name, certificates := range map[string]bool{"with certificates": true, "without": false} {
		raw, aux, err := readSEV(sevDriver(t, certificates, 0), "sev-guest", [64]byte{4})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f, err := parse(attest.FormatSEVSNP, raw)
		if err != nil || f.reportData != [64]byte{4} || f.hostData != [32]byte{5} {
			t.Errorf("%s: the report says %+v, %v", name, f, err)
		}
		certs, err := certificatesOf(attest.FormatSEVSNP, raw, aux)
		if err != nil || (len(certs) == 3) != certificates || certificates && !bytes.Equal(certs[0], chip(t).Certificates()[0]) {
			t.Errorf("%s: %d certificates, %v", name, len(certs), err)
		}
	}
	if _, _, err := readSEV(sevDriver(t, true, 0x16), "sev-guest", [64]byte{}); err == nil || !strings.Contains(err.Error(), "0x16") {
		t.Errorf("a firmware's error: %v", err)
	}
}

// tdxDriver answers as /dev/tdx_guest does.
func tdxDriver(t *testing.T, status uint64, length uint32) ioctl {
	process := td(t, func(*tdxtest.Quote) {})
	return func(_ string, command uintptr, arg unsafe.Pointer) error {
		switch command {
		case tdxabi.IocTdxGetReport:
			r := (*tdxabi.TdxReportReq)(arg)
			copy(r.TdReport[:], r.ReportData[:])
			return nil
		case tdxabi.IocTdxGetQuote:
			h := (*tdxabi.TdxQuoteHdr)((*tdxabi.TdxQuoteReqABI)(arg).Buffer)
			raw, _, err := process([64]byte(h.Data[:64]))
			h.Status, h.OutLen = status, uint32(copy(h.Data[:], raw))
			if length > 0 {
				h.OutLen = length
			}
			return err
		}
		return syscall.ENOTTY
	}
}

func TestTheTDXDeviceIsAsked(t *testing.T) {
	raw, _, err := readTDX(tdxDriver(t, 0, 0), "tdx_guest", [64]byte{4})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := parse(attest.FormatTDX, raw); err != nil || f.reportData != [64]byte{4} {
		t.Errorf("the quote is over %x, %v", f.reportData, err)
	}
	for want, driver := range map[string]ioctl{
		"0x8000000000000001": tdxDriver(t, tdxabi.GetQuoteServiceUnavailable, 0),
		"has 20000 bytes":    tdxDriver(t, 0, 20000),
		"inappropriate":      func(string, uintptr, unsafe.Pointer) error { return syscall.ENOTTY },
	} {
		if _, _, err := readTDX(driver, "tdx_guest", [64]byte{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, expected %q in it", err, want)
		}
	}
}
