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
	"github.com/casemate-dev/casemate/pkg/gpu/nvml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// driver answers as NVML does.
type driver func(nonce [32]byte) ([]gpu.NVMLReport, error)

func (d driver) Reports(nonce [32]byte) ([]gpu.NVMLReport, error) { return d(nonce) }

// vendor is made once: its keys take a moment.
var vendor = sync.OnceValues(func() (*nvidiatest.PKI, error) { return nvidiatest.New([]byte("casemate guest gpus tests")) })

// cards are two cards of a vendor of the test's own.
func cards(t *testing.T, arch nvidia.Architecture) (driver, *nvidiatest.PKI) {
	t.Helper()
	pki, err := vendor()
	if err != nil {
		t.Fatal(err)
	}
	return func(nonce [32]byte) ([]gpu.NVMLReport, error) {
		var out []gpu.NVMLReport
		for n := range 2 {
			d, err := pki.Device(nvidiatest.DeviceSpec{Arch: arch, PDI: nvidia.PDI{1, byte(n)}})
			if err != nil {
				return nil, err
			}
			e, err := d.Evidence(nvidiatest.ReportSpec{Nonce: nonce[:]})
			if err != nil {
				return nil, err
			}
			generation := map[nvidia.Architecture]gpu.Generation{nvidia.Hopper: gpu.Hopper, nvidia.Blackwell: gpu.Blackwell}[arch]
			out = append(out, gpu.NVMLReport{BusID: "00000000:01:00.0", Generation: generation, Report: e.Report, Chain: nvidia.ChainPEM(e.Chain)})
		}
		return out, nil
	}, pki
}

func source(t *testing.T, c Config) *Source {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDocumentsOfCardsAreAcceptedByAVerifier(t *testing.T) {
	for _, arch := range []nvidia.Architecture{nvidia.Hopper, nvidia.Blackwell} {
		d, pki := cards(t, arch)
		nonce := [32]byte{5, 31: 6}
		documents, err := source(t, Config{NVML: d}).Devices(t.Context(), nonce)
		if err != nil || len(documents) != 2 {
			t.Fatalf("%s: %d documents, %v", arch, len(documents), err)
		}
		verifier, err := nvidia.New(pki.Config())
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range documents {
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
	}
}

func TestSwitchesStandBehindTheCards(t *testing.T) {
	d, _ := cards(t, nvidia.Hopper)
	s := source(t, Config{NVML: d, Switches: func(_ context.Context, nonce [32]byte) ([][]byte, error) {
		return [][]byte{nonce[:]}, nil
	}})
	documents, err := s.Devices(t.Context(), [32]byte{8})
	if err != nil || len(documents) != 3 || documents[2][0] != 8 {
		t.Errorf("%d documents, %v", len(documents), err)
	}
	broken := source(t, Config{NVML: d, Switches: func(context.Context, [32]byte) ([][]byte, error) { return nil, errors.New("no switch answers") }})
	if _, err := broken.Devices(t.Context(), [32]byte{}); err == nil || !strings.Contains(err.Error(), "no switch answers") {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNoAnswerIsToldAtOnce(t *testing.T) {
	good, _ := cards(t, nvidia.Hopper)
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
		if list, err := source(t, Config{NVML: c.driver}).Devices(t.Context(), [32]byte{1}); err == nil || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%s: %d documents, error %v; want %q in it", name, len(list), err, c.want)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a source without a driver was made")
	}
}

// A driver that hangs costs its callers the deadline, and is not called twice.
func TestADriverThatDoesNotReturnIsGivenUpAndNotCalledAgain(t *testing.T) {
	synctest.Test(t, driverThatDoesNotReturn)
}

func driverThatDoesNotReturn(t *testing.T) {
	called, release := make(chan struct{}, 8), make(chan struct{})
	s := source(t, Config{NVML: driver(func([32]byte) ([]gpu.NVMLReport, error) {
		called <- struct{}{}
		<-release
		return nil, nil
	})})
	for i, want := range []string{"does not return", "an earlier call", "an earlier call"} {
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

func TestWithoutNVMLTheReasonIsTold(t *testing.T) {
	_, err := source(t, Config{NVML: nvml.New()}).Devices(t.Context(), [32]byte{})
	switch {
	case err == nil: // a machine with the driver and no card
	case !nvml.BuiltIn && !strings.Contains(err.Error(), "CGO_ENABLED=1"):
		t.Errorf("error %v, want what to build with", err)
	case !errors.Is(err, gpu.ErrNoNVML):
		t.Errorf("error %v", err)
	}
}
