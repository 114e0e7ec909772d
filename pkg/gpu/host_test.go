package gpu

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// library is an NVML that says what it is told to, or hangs.
type library struct {
	mu      sync.Mutex
	devices []NVMLDevice
	err     error
	hang    chan struct{} // if not nil, calls wait until it is closed
	xids    chan NVMLXid
}

func (l *library) Devices() ([]NVMLDevice, error) {
	l.mu.Lock()
	hang, devices, err := l.hang, l.devices, l.err
	l.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return devices, err
}

func (l *library) WaitXid(timeout time.Duration) (NVMLXid, bool, error) {
	select {
	case x, open := <-l.xids:
		if !open {
			return NVMLXid{}, false, errors.New("the event set is gone")
		}
		return x, true, nil
	case <-time.After(min(timeout, maxWait)):
		return NVMLXid{}, false, nil
	}
}

// maxWait keeps a wait that nobody needs any more from outliving its test.
const maxWait = 20 * time.Millisecond

func newHost(t *testing.T, slots map[string]slot, l NVML) *Host {
	t.Helper()
	h, err := NewHost(Config{Root: sysfs(t, slots), NVML: l, Deadline: time.Hour,
		Now: func() time.Time { return time.Unix(1000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func look(t *testing.T, h *Host) Snapshot {
	t.Helper()
	s, err := h.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sound(bus string) NVMLDevice {
	return NVMLDevice{BusID: bus, UUID: "GPU-" + bus, Name: "NVIDIA H200", MemoryMiB: 143771, Mode: ModeOn}
}

func TestACardOnVFIODoesNotVanish(t *testing.T) {
	l := &library{devices: []NVMLDevice{sound("00000000:17:00.0")}}
	h := newHost(t, map[string]slot{
		"0000:17:00.0": gpuSlot(idH200, "nvidia", 40, 1),
		"0000:2a:00.0": gpuSlot(idH200, "vfio-pci", 41, 1),
		"0000:05:00.0": {vendorNVIDIA, 0x22a3, 0x068000, "vfio-pci", 42, "-1", 0},
	}, l)
	s := look(t, h)
	if len(s.GPUs) != 2 || len(s.Switches) != 1 || len(s.Conditions) != 0 {
		t.Fatalf("snapshot %+v", s)
	}
	byDriver, byVFIO := s.GPUs[0], s.GPUs[1]
	if byDriver.UUID == "" || byDriver.MemoryMiB != 143771 || byDriver.Mode != ModeOn || byDriver.Index != 0 {
		t.Errorf("card on nvidia: %+v", byDriver)
	}
	if byVFIO.UUID != "" || byVFIO.Model != "NVIDIA H200" || byVFIO.MemoryMiB != 256<<10 || byVFIO.Mode != ModeOn || byVFIO.Index != 1 {
		t.Errorf("card on vfio-pci: %+v", byVFIO)
	}
	if got := Offers(s, nil, Rules{}); !cmp.Equal(got, []int{1}) {
		t.Errorf("offers %v", got)
	}
	for _, c := range Assess(s, nil, Rules{}) {
		if !c.Offered {
			t.Errorf("%s is not offered: %v", c.BDF, c.Why)
		}
	}
}

func TestCardsThatAreNotSoundSayWhy(t *testing.T) {
	slots := map[string]slot{"0000:17:00.0": gpuSlot(idH200, "nvidia", 40, 1)}
	tests := map[string]struct {
		nvml   NVML
		change func(map[string]slot)
		want   ReasonCode
	}{
		"no NVML at hand":   {nil, nil, ReasonUnreadable},
		"NVML fails":        {&library{err: ErrNoNVML}, nil, ReasonUnreadable},
		"NVML lacks it":     {&library{devices: []NVMLDevice{sound("2a:00.0")}}, nil, ReasonUnreadable},
		"MIG is on":         {one(func(d *NVMLDevice) { d.MIG = true }), nil, ReasonMIG},
		"a problem in NVML": {one(func(d *NVMLDevice) { d.Problem = "memory: GPU is lost" }), nil, ReasonUnreadable},
		"rows run out":      {one(func(d *NVMLDevice) { d.ECC.RemapFailed = true }), nil, ReasonSick},
		"a reset is due":    {one(func(d *NVMLDevice) { d.ECC.RemapPending = true }), nil, ReasonSick},
		"mode unknown to both": {one(func(d *NVMLDevice) { d.Mode = ModeUnreadable }),
			func(s map[string]slot) { s["0000:17:00.0"] = gpuSlot(idH200, "nvidia", 40, allOnes) }, ReasonUnreadable},
		"a foreign device in its IOMMU group": {one(nil),
			func(s map[string]slot) { s["0000:18:00.0"] = slot{0x8086, 1, 0x020000, "ice", 40, "0", 0} }, ReasonIOMMU},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			mine := maps.Clone(slots)
			if test.change != nil {
				test.change(mine)
			}
			cards := Assess(look(t, newHost(t, mine, test.nvml)), nil, Rules{})
			if len(cards) != 1 || cards[0].Offered || cards[0].Why[0].Code != test.want {
				t.Errorf("cards %+v, want reason %s", cards, test.want)
			}
		})
	}
}

// one is an NVML with one card, sound but for a change.
func one(change func(*NVMLDevice)) NVML {
	d := sound("0000:17:00.0")
	if change != nil {
		change(&d)
	}
	return &library{devices: []NVMLDevice{d}}
}

func TestAFunctionThatCannotBeReadIsACondition(t *testing.T) {
	h := newHost(t, map[string]slot{"0000:17:00.0": gpuSlot(idH200, "vfio-pci", 40, 1)}, nil)
	put(t, h.root, pciDevices+"/0000:17:00.0/class", "?")
	if s := look(t, h); len(s.GPUs) != 0 || len(s.Conditions) != 1 || s.Conditions[0].Code != "pci-unreadable" {
		t.Errorf("snapshot %+v", s)
	}
}

func TestBridgesAndSiblingsMayShareAGroup(t *testing.T) {
	s := look(t, newHost(t, map[string]slot{
		"0000:17:00.0": gpuSlot(idH200, "vfio-pci", 40, 1),
		"0000:17:00.1": {vendorNVIDIA, 0x1111, 0x040300, "", 40, "0", 0},
		"0000:16:00.0": {0x10b5, 0x8796, 0x060400, "pcieport", 40, "0", 0},
	}, nil))
	if len(s.GPUs) != 1 || len(s.GPUs[0].Reasons) != 0 {
		t.Errorf("snapshot %+v", s)
	}
}

func TestAHungNVMLBecomesAConditionAndPassesWhenItReturns(t *testing.T) {
	synctest.Test(t, hungNVML)
}

func hungNVML(t *testing.T) {
	l := one(nil).(*library)
	release := make(chan struct{})
	l.hang = release
	h := newHost(t, map[string]slot{
		"0000:17:00.0": gpuSlot(idH200, "nvidia", 40, 1), "0000:2a:00.0": gpuSlot(idH200, "vfio-pci", 41, 1),
	}, l)
	for range 20 { // however often it is asked, one call hangs
		s := look(t, h)
		if len(s.Conditions) != 1 || s.Conditions[0].Code != "nvml-stuck" || s.Conditions[0].Severity != SeverityError ||
			!s.Conditions[0].Since.Equal(time.Unix(1000, 0)) {
			t.Fatalf("conditions %+v", s.Conditions)
		}
		cards := Assess(s, nil, Rules{})
		if cards[0].Offered || !cards[1].Offered {
			t.Fatalf("offered: %v on nvidia, %v on vfio-pci", cards[0].Offered, cards[1].Offered)
		}
	}
	l.mu.Lock()
	l.hang = nil
	l.mu.Unlock()
	close(release)
	<-h.calls.turn // the call has returned
	h.calls.turn <- struct{}{}
	if s := look(t, h); len(s.Conditions) != 0 || !s.GPUs[0].Healthy {
		t.Errorf("after the return: %+v", s)
	}
}

func TestAPanicInTheLibraryIsAnError(t *testing.T) {
	_, err := guarded(t.Context(), newGuard(time.Hour, time.Now), func() (int, error) { panic("symbol lookup") })
	if err == nil {
		t.Error("no error")
	}
}

func TestACallerWhoLeavesDoesNotUnblockTheNext(t *testing.T) {
	synctest.Test(t, callerWhoLeaves)
}

func callerWhoLeaves(t *testing.T) {
	g := newGuard(time.Hour, time.Now)
	release := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hang := func() (int, error) { <-release; return 1, nil }
	started := make(chan struct{})
	live, leave := context.WithCancel(t.Context())
	go func() { <-started; leave() }()
	if _, err := guarded(live, g, func() (int, error) { close(started); return hang() }); !errors.Is(err, context.Canceled) {
		t.Errorf("leaving: %v", err)
	}
	if _, err := guarded(ctx, g, hang); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has left already: %v", err)
	}
	if _, err := guarded(t.Context(), g, hang); !errors.Is(err, errStuck) {
		t.Errorf("the next: %v", err)
	}
	if _, stuck := g.stuckSince(); !stuck {
		t.Error("the call that hangs is not known as stuck")
	}
	close(release)
	<-g.turn
	if _, stuck := g.stuckSince(); stuck {
		t.Error("still stuck after the return")
	}
}

func TestAnXidTakesTheCardOutOfServiceUntilForgiven(t *testing.T) {
	l := one(nil).(*library)
	l.xids = make(chan NVMLXid, 4)
	h := newHost(t, map[string]slot{"0000:17:00.0": gpuSlot(idH200, "nvidia", 40, 1)}, l)
	for _, x := range []NVMLXid{{"nowhere", 79}, {"0000:17:00.0", 31}, {"0000:17:00.0", 79}} {
		l.xids <- x
	}
	close(l.xids)
	var events []Event
	if err := h.Watch(t.Context(), func(e Event) { events = append(events, e) }); err == nil {
		t.Error("the end of the event set is no error")
	}
	at := time.Unix(1000, 0)
	want := []Event{{"0000:17:00.0", 31, at, false}, {"0000:17:00.0", 79, at, true}}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
	if g := look(t, h).GPUs[0]; g.Healthy || g.Reasons[0].Code != ReasonSick {
		t.Errorf("card %+v", g)
	}
	h.Forgive("0000:17:00.0")
	if g := look(t, h).GPUs[0]; !g.Healthy {
		t.Errorf("forgiven card %+v", g)
	}
}

func TestWatchEndsWithItsContextAndNeedsNVML(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &library{xids: make(chan NVMLXid, 1)}
	l.xids <- NVMLXid{"0000:17:00.0", 79}
	if err := newHost(t, nil, l).Watch(ctx, func(Event) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := newHost(t, nil, nil).Watch(t.Context(), nil); !errors.Is(err, ErrNoNVML) {
		t.Errorf("error %v", err)
	}
}

func TestNewHostRefusesAConfigurationThatCantBe(t *testing.T) {
	for _, cfg := range []Config{{}, {Root: "/", Deadline: -1}} {
		if _, err := NewHost(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newHost(t, nil, nil).Snapshot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
