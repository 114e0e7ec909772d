package fake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

var switching = gpu.Rules{SwitchModes: true}

func snapshot(t *testing.T, i *Inventory) gpu.Snapshot {
	t.Helper()
	s, err := i.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryCommittedHostIsItsPresetAndOffersWhatItShould(t *testing.T) {
	offers := map[string][]int{
		"8xH200": {1, 8}, "8xB200": {1, 2, 4, 8}, "1xH100": {1}, "none": {}, "8xH200-one-sick": {1},
	}
	for _, name := range Presets() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("..", "..", "..", "deploy", "fake-hosts", strings.ToLower(name)+".yaml")
			i, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			preset, err := Preset(name)
			if err != nil {
				t.Fatal(err)
			}
			preset.ModeSwitch = i.host.ModeSwitch
			if diff := cmp.Diff(preset, i.host); diff != "" {
				t.Errorf("file differs from preset (-preset +file):\n%s", diff)
			}
			want, ok := offers[name]
			if got := gpu.Offers(snapshot(t, i), nil, switching); !ok || !cmp.Equal(want, got) {
				t.Errorf("offers %v, want %v", got, want)
			}
		})
	}
}

func TestIdentitiesAreDistinctAndStable(t *testing.T) {
	a, err := New(Host{Name: "a", Model: "H200", GPUs: 8, Mode: gpu.ModeOn})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(Host{Name: "b", Model: "H200", GPUs: 8, Mode: gpu.ModeOn})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range []gpu.Snapshot{snapshot(t, a), snapshot(t, b)} {
		for _, g := range s.GPUs {
			if seen[g.UUID] {
				t.Errorf("UUID %s twice", g.UUID)
			}
			seen[g.UUID] = true
		}
	}
	if before, now := snapshot(t, a), snapshot(t, a); before.GPUs[0].UUID != now.GPUs[0].UUID {
		t.Error("a card changes its UUID")
	}
}

func TestACardCanFallSickAndRecoverWhileRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.yaml")
	write(t, path, "version: 1\npreset: 1xH100\n")
	now := time.Unix(1000, 0)
	i, err := Open(path, WithClock(func() time.Time { return now }, wait))
	if err != nil {
		t.Fatal(err)
	}
	if got := gpu.Offers(snapshot(t, i), nil, gpu.Rules{}); !cmp.Equal(got, []int{1}) {
		t.Fatalf("sound card: offers %v", got)
	}
	write(t, path, "version: 1\npreset: 1xH100\ncards: [{index: 0, sick: Xid 48}]\n")
	s := snapshot(t, i)
	if s.GPUs[0].Healthy || s.GPUs[0].Reasons[0].Text != "Xid 48" || len(gpu.Offers(s, nil, gpu.Rules{})) != 0 {
		t.Fatalf("sick card: %+v", s.GPUs[0])
	}
	write(t, path, "version: 1\npreset: 1xH100\ncards: [{index: 0, missing: true}]\n")
	if s := snapshot(t, i); len(s.GPUs) != 0 {
		t.Fatalf("missing card is listed: %+v", s.GPUs)
	}
	write(t, path, "version: 1\npreset: [\n")
	s = snapshot(t, i)
	if len(s.GPUs) != 0 || len(s.Conditions) != 1 || s.Conditions[0].Code != "fake-host-file" || !s.Conditions[0].Since.Equal(now) {
		t.Fatalf("broken file: %+v", s)
	}
	write(t, path, "version: 1\npreset: 1xH100\n")
	if s := snapshot(t, i); len(s.Conditions) != 0 || !s.GPUs[0].Healthy {
		t.Fatalf("mended file: %+v", s)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if s := snapshot(t, i); len(s.GPUs) != 1 || len(s.Conditions) != 1 {
		t.Fatalf("removed file: %+v", s)
	}
}

func TestSetModeSwitchesTheWholeBoardAndBack(t *testing.T) {
	i := open(t, "version: 1\npreset: 8xH200\n")
	for _, mode := range []gpu.Mode{gpu.ModePPCIe, gpu.ModeOn} {
		if err := i.SetMode(t.Context(), mode); err != nil {
			t.Fatal(err)
		}
		s := snapshot(t, i)
		for _, g := range s.GPUs {
			if g.Mode != mode {
				t.Errorf("%s is in %s, want %s", g.BDF, g.Mode, mode)
			}
		}
		if got := gpu.Offers(s, nil, gpu.Rules{}); mode == gpu.ModePPCIe && !cmp.Equal(got, []int{8}) {
			t.Errorf("offers %v in protected PCIe", got)
		}
	}
}

func TestNoCardIsOfferedDuringAChangeOfModeAndASecondChangeIsRefused(t *testing.T) {
	started, finish := make(chan time.Duration), make(chan struct{})
	i := open(t, "version: 1\npreset: 8xH200\nmode_switch: {duration: 90s}\n", WithClock(time.Now,
		func(_ context.Context, d time.Duration) error { started <- d; <-finish; return nil }))
	done := make(chan error)
	go func() { done <- i.SetMode(t.Context(), gpu.ModePPCIe) }()
	if d := <-started; d != 90*time.Second {
		t.Errorf("the change takes %s", d)
	}
	if got := gpu.Offers(snapshot(t, i), nil, switching); len(got) != 0 {
		t.Errorf("offers %v during the change", got)
	}
	if err := i.SetMode(t.Context(), gpu.ModeOn); !errors.Is(err, ErrSwitching) {
		t.Errorf("second change: %v", err)
	}
	close(finish)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := gpu.Offers(snapshot(t, i), nil, switching); !cmp.Equal(got, []int{1, 8}) {
		t.Errorf("offers %v after the change", got)
	}
}

func TestAFailedChangeOfMode(t *testing.T) {
	i := open(t, "version: 1\npreset: 8xH200\nmode_switch: {fail: the card did not come back}\n")
	if err := i.SetMode(t.Context(), gpu.ModePPCIe); err == nil || !strings.Contains(err.Error(), "did not come back") {
		t.Fatalf("error %v", err)
	}
	if got := gpu.Offers(snapshot(t, i), nil, gpu.Rules{}); !cmp.Equal(got, []int{1}) {
		t.Errorf("offers %v; the old mode should stand", got)
	}
	i = open(t, "version: 1\npreset: 8xH200\nmode_switch: {duration: 1h, leave_mixed: true}\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := i.SetMode(ctx, gpu.ModePPCIe); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if got := gpu.Offers(snapshot(t, i), nil, switching); len(got) != 0 {
		t.Errorf("a mix offers %v", got)
	}
}

func TestModesThatAHostCannotHaveAreRefused(t *testing.T) {
	for host, mode := range map[string]gpu.Mode{"8xB200": gpu.ModePPCIe, "none": gpu.ModeOn, "8xH200": gpu.ModeDevtools} {
		if err := open(t, "version: 1\npreset: "+host+"\n").SetMode(t.Context(), mode); !errors.Is(err, gpu.ErrModeNotSettable) {
			t.Errorf("%s to %s: %v", host, mode, err)
		}
	}
}

func TestAModeWrittenToTheFileOverridesTheOneSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.yaml")
	write(t, path, "version: 1\npreset: 8xH200\n")
	i, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.SetMode(t.Context(), gpu.ModePPCIe); err != nil {
		t.Fatal(err)
	}
	write(t, path, "version: 1\npreset: 8xH200\ncards: [{index: 0, mig: true}]\n")
	if g := snapshot(t, i).GPUs[0]; g.Mode != gpu.ModePPCIe || !g.MIG {
		t.Errorf("another change of the file: %+v", g)
	}
	write(t, path, "version: 1\npreset: 8xH200\nmode: off\ncards: [{index: 1, mode: devtools, driver: nvidia}]\n")
	s := snapshot(t, i)
	if s.GPUs[0].Mode != gpu.ModeOff || s.GPUs[1].Mode != gpu.ModeDevtools || s.GPUs[1].Driver != gpu.DriverNVIDIA {
		t.Errorf("modes %+v", s.GPUs[:2])
	}
}

func TestSnapshotObeysItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, "version: 1\npreset: none\n").Snapshot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// open writes a description to a file and opens it.
func open(t *testing.T, text string, options ...Option) *Inventory {
	t.Helper()
	path := filepath.Join(t.TempDir(), "host.yaml")
	write(t, path, text)
	i, err := Open(path, options...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
