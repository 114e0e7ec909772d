package gpus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/gpu"
	"github.com/casemate-dev/casemate/pkg/gpu/nscq"
	"github.com/casemate-dev/casemate/pkg/gpu/nvml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// driver answers as NVML does.
type driver func(nonce [32]byte) ([]gpu.NVMLReport, error)

func (d driver) Reports(nonce [32]byte) ([]gpu.NVMLReport, error) { return d(nonce) }

// fabric answers as NSCQ does.
type fabric func(nonce [32]byte) ([]gpu.NVSwitchReport, error)

func (f fabric) Reports(nonce [32]byte) ([]gpu.NVSwitchReport, error) { return f(nonce) }

// vendor is made once: its keys take a moment.
var vendor = sync.OnceValues(func() (*nvidiatest.PKI, error) { return nvidiatest.New([]byte("casemate guest gpus tests")) })

// cards are two cards of a vendor of the test's own, in a mode.
func cards(t *testing.T, arch nvidia.Architecture, mode nvidia.Mode) (driver, *nvidiatest.PKI) {
	t.Helper()
	pki := pki(t)
	return func(nonce [32]byte) ([]gpu.NVMLReport, error) {
		var out []gpu.NVMLReport
		for n := range 2 {
			e, err := report(pki, nvidiatest.DeviceSpec{Arch: arch, PDI: nvidia.PDI{1, byte(n)}}, nvidiatest.ReportSpec{Nonce: nonce[:], Mode: mode})
			if err != nil {
				return nil, err
			}
			generation := map[nvidia.Architecture]gpu.Generation{nvidia.Hopper: gpu.Hopper, nvidia.Blackwell: gpu.Blackwell}[arch]
			out = append(out, gpu.NVMLReport{BusID: "00000000:01:00.0", Generation: generation, Report: e.Report, Chain: nvidia.ChainPEM(e.Chain)})
		}
		return out, nil
	}, pki
}

// switches are two switches of the same vendor.
func switches(t *testing.T) fabric {
	t.Helper()
	pki := pki(t)
	return func(nonce [32]byte) ([]gpu.NVSwitchReport, error) {
		var out []gpu.NVSwitchReport
		for n := range 2 {
			e, err := report(pki, nvidiatest.DeviceSpec{Arch: nvidia.LS10, PDI: nvidia.PDI{2, byte(n)}}, nvidiatest.ReportSpec{Nonce: nonce[:]})
			if err != nil {
				return nil, err
			}
			out = append(out, gpu.NVSwitchReport{UUID: "SWX-" + string(rune('A'+n)), Report: e.Report, Chain: nvidia.ChainPEM(e.Chain)})
		}
		return out, nil
	}
}

func pki(t *testing.T) *nvidiatest.PKI {
	t.Helper()
	pki, err := vendor()
	if err != nil {
		t.Fatal(err)
	}
	return pki
}

func report(pki *nvidiatest.PKI, device nvidiatest.DeviceSpec, spec nvidiatest.ReportSpec) (nvidia.Device, error) {
	d, err := pki.Device(device)
	if err != nil {
		return nvidia.Device{}, err
	}
	return d.Evidence(spec)
}

// unasked fails the test if it is asked: NSCQ is loaded on boards that need it only.
func unasked(t *testing.T) fabric {
	t.Helper()
	return func([32]byte) ([]gpu.NVSwitchReport, error) {
		t.Error("NSCQ was asked")
		return nil, nil
	}
}

func source(t *testing.T, c Config) *Source {
	t.Helper()
	if c.Deadline == 0 {
		c.Deadline = time.Hour // signing takes its time on a busy machine
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDocumentsOfCardsAreAcceptedByAVerifier(t *testing.T) {
	for _, c := range []struct {
		arch nvidia.Architecture
		mode nvidia.Mode
	}{{nvidia.Hopper, nvidia.ModeSingle}, {nvidia.Blackwell, nvidia.ModeMulti}} {
		d, pki := cards(t, c.arch, c.mode)
		nonce := [32]byte{5, 31: 6}
		documents, err := source(t, Config{NVML: d, NSCQ: unasked(t)}).Devices(t.Context(), nonce)
		if err != nil || len(documents) != 2 {
			t.Fatalf("%s: %d documents, %v", c.arch, len(documents), err)
		}
		for _, document := range documents {
			accepted(t, pki, document, c.arch, nonce)
		}
	}
}

// accepted says that a document is of one device of an architecture, and in order.
func accepted(t *testing.T, pki *nvidiatest.PKI, document []byte, arch nvidia.Architecture, nonce [32]byte) {
	t.Helper()
	verifier, err := nvidia.New(pki.Config())
	if err != nil {
		t.Fatal(err)
	}
	e, err := nvidia.ParseEvidence(document)
	if err != nil || len(e.Devices) != 1 || e.Devices[0].Arch != arch {
		t.Fatalf("%s: %+v, %v", arch, e, err)
	}
	off := false
	p := pki.Trust(nvidia.Policy{PermitUnpinned: true, RequireRIMs: &off, RequireOCSP: &off})
	if v := verifier.Verify(e, nil, nil, p, nonce[:], time.Now()); !v.Accepted {
		t.Errorf("%s: %v", arch, v.Err())
	}
}

func TestInProtectedPCIeModeSwitchesStandBehindTheCards(t *testing.T) {
	d, pki := cards(t, nvidia.Hopper, nvidia.ModeProtectedPCIe)
	nonce := [32]byte{8, 31: 1}
	documents, err := source(t, Config{NVML: d, NSCQ: switches(t)}).Devices(t.Context(), nonce)
	if err != nil || len(documents) != 4 {
		t.Fatalf("%d documents, %v", len(documents), err)
	}
	for i, arch := range []nvidia.Architecture{nvidia.Hopper, nvidia.Hopper, nvidia.LS10, nvidia.LS10} {
		accepted(t, pki, documents[i], arch, nonce)
	}
}

func TestWhatIsNoAnswerIsToldAtOnce(t *testing.T) {
	good, _ := cards(t, nvidia.Hopper, nvidia.ModeSingle)
	changed := func(change func(*gpu.NVMLReport)) driver {
		return func(nonce [32]byte) ([]gpu.NVMLReport, error) {
			list, err := good(nonce)
			if err == nil {
				change(&list[1])
			}
			return list, err
		}
	}
	for name, c := range map[string]struct {
		driver driver
		want   string
	}{
		"another nonce":         {func([32]byte) ([]gpu.NVMLReport, error) { return good([32]byte{0xff}) }, "answers the nonce ff"},
		"a report cut short":    {changed(func(r *gpu.NVMLReport) { r.Report = r.Report[:100] }), "GPU 00000000:01:00.0"},
		"bytes behind a report": {changed(func(r *gpu.NVMLReport) { r.Report = append(r.Report, 0) }), "GPU 00000000:01:00.0"},
		"no chain":              {changed(func(r *gpu.NVMLReport) { r.Chain = nil }), "GPU 00000000:01:00.0"},
		"another generation":    {changed(func(r *gpu.NVMLReport) { r.Generation = gpu.OtherChips }), "no reports that are known"},
		"a driver that fails":   {func([32]byte) ([]gpu.NVMLReport, error) { return nil, errors.New("card 3: NVML code 15") }, "NVML code 15"},
		"more cards than fit":   {func([32]byte) ([]gpu.NVMLReport, error) { return make([]gpu.NVMLReport, maxCards+1), nil }, "17 cards"},
	} {
		if list, err := source(t, Config{NVML: c.driver, NSCQ: unasked(t)}).Devices(t.Context(), [32]byte{1}); err == nil || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%s: %d documents, error %v; want %q in it", name, len(list), err, c.want)
		}
	}
	for _, c := range []Config{{NVML: good}, {NSCQ: switches(t)}} {
		if _, err := New(c); err == nil {
			t.Errorf("a source without one of its libraries was made: %+v", c)
		}
	}
}

func TestWhatIsNoAnswerOfASwitchIsToldAtOnce(t *testing.T) {
	protected, pki := cards(t, nvidia.Hopper, nvidia.ModeProtectedPCIe)
	good := switches(t)
	changed := func(change func(*gpu.NVSwitchReport)) fabric {
		return func(nonce [32]byte) ([]gpu.NVSwitchReport, error) {
			list, err := good(nonce)
			if err == nil {
				change(&list[1])
			}
			return list, err
		}
	}
	for name, c := range map[string]struct {
		fabric fabric
		want   string
	}{
		"another nonce":          {func([32]byte) ([]gpu.NVSwitchReport, error) { return good([32]byte{0xff}) }, "answers the nonce ff"},
		"a report cut short":     {changed(func(r *gpu.NVSwitchReport) { r.Report = r.Report[:100] }), "switch SWX-B"},
		"bytes behind a report":  {changed(func(r *gpu.NVSwitchReport) { r.Report = append(r.Report, 0) }), "switch SWX-B"},
		"no chain":               {changed(func(r *gpu.NVSwitchReport) { r.Chain = nil }), "switch SWX-B"},
		"a library that fails":   {func([32]byte) ([]gpu.NVSwitchReport, error) { return nil, errors.New("NSCQ code -7") }, "their NVSwitches don't report: NSCQ code -7"},
		"no switches":            {func([32]byte) ([]gpu.NVSwitchReport, error) { return nil, nil }, "reports of 0 switches"},
		"more switches than fit": {func([32]byte) ([]gpu.NVSwitchReport, error) { return make([]gpu.NVSwitchReport, maxSwitches+1), nil }, "reports of 17 switches"},
		"no library": {nscq.New("/nonexistent/" + nscq.Name).Reports,
			"install libnvidia-nscq-550, or libnvidia-nscq, of exactly the driver's version 550.90.07"},
	} {
		if list, err := source(t, Config{NVML: protected, NSCQ: c.fabric}).Devices(t.Context(), [32]byte{1}); err == nil || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%s: %d documents, error %v; want %q in it", name, len(list), err, c.want)
		}
	}
	// A report that tells no driver is one that nobody accepts: the package is named all the same.
	e, err := report(pki, nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{1}}, nvidiatest.ReportSpec{Driver: "\x00"})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := nvidia.ParseReport(e.Report)
	if err != nil || !strings.Contains(whatToInstall(parsed), "install libnvidia-nscq of exactly the driver's version") {
		t.Errorf("%v, %v", parsed, err)
	}
}

// Switches say nothing of the mode of a board: the cards do, and have to say it in one voice.
func TestAModeThatContradictsItselfIsNone(t *testing.T) {
	pki := pki(t)
	d := driver(func(nonce [32]byte) ([]gpu.NVMLReport, error) {
		e, err := report(pki, nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{1}}, nvidiatest.ReportSpec{
			Nonce: nonce[:], Mode: nvidia.ModeProtectedPCIe, EditFields: func(list []nvidia.Field) []nvidia.Field {
				list[len(list)-1].Value = []byte{0, 0}
				return list
			},
		})
		return []gpu.NVMLReport{{BusID: "x", Generation: gpu.Hopper, Report: e.Report, Chain: nvidia.ChainPEM(e.Chain)}}, err
	})
	if _, err := source(t, Config{NVML: d, NSCQ: unasked(t)}).Devices(t.Context(), [32]byte{}); err == nil || !strings.Contains(err.Error(), "GPU x: field 36 says mode") {
		t.Errorf("error %v", err)
	}
}

// A driver that hangs costs its callers the deadline, and is not called twice.
func TestADriverThatDoesNotReturnIsGivenUpAndNotCalledAgain(t *testing.T) {
	synctest.Test(t, driverThatDoesNotReturn)
}

func driverThatDoesNotReturn(t *testing.T) {
	called, release := make(chan struct{}, 8), make(chan struct{})
	s := source(t, Config{NSCQ: unasked(t), NVML: driver(func([32]byte) ([]gpu.NVMLReport, error) {
		called <- struct{}{}
		<-release
		return nil, nil
	})})
	for i, want := range []string{"NVML does not return", "NVML has not returned from an earlier call", "an earlier call"} {
		if i == 1 {
			<-called
		}
		if _, err := s.Devices(t.Context(), [32]byte{}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if n := len(called); n != 0 {
		t.Errorf("the driver was called %d times more while it did not return", n)
	}
	close(release)
	if _, err := s.Devices(t.Context(), [32]byte{}); err != nil {
		t.Errorf("once it returns: %v", err)
	}
}

func TestSwitchesThatDoNotAnswerAreGivenUp(t *testing.T) {
	d, _ := cards(t, nvidia.Hopper, nvidia.ModeProtectedPCIe)
	ctx, cancel := context.WithCancel(t.Context())
	release, ended := make(chan struct{}), make(chan struct{})
	s := source(t, Config{Deadline: time.Hour, NVML: d, NSCQ: fabric(func([32]byte) ([]gpu.NVSwitchReport, error) {
		defer close(ended)
		cancel()
		<-release
		return nil, nil
	})})
	if _, err := s.Devices(ctx, [32]byte{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "NSCQ does not return") {
		t.Errorf("error %v", err)
	}
	close(release)
	<-ended
}

func TestWithoutNVMLTheReasonIsTold(t *testing.T) {
	_, err := source(t, Config{NVML: nvml.New(), NSCQ: nscq.New(nscq.Name)}).Devices(t.Context(), [32]byte{})
	switch {
	case err == nil: // a machine with the driver and no card
	case !nvml.BuiltIn && !strings.Contains(err.Error(), "CGO_ENABLED=1"):
		t.Errorf("error %v, want what to build with", err)
	case !errors.Is(err, gpu.ErrNoNVML):
		t.Errorf("error %v", err)
	}
}
