//go:build cgo && linux

package nvml

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// server is go-nvml's mock of an eight-card host, with what it leaves out:
// addresses, ECC, the confidential mode and events. A function that a test
// does not provide panics when called.
func server(settings nvml.SystemConfComputeSettings, ret nvml.Return) *dgxa100.Server {
	s := dgxa100.New()
	s.SystemGetConfComputeSettingsFunc = func() (nvml.SystemConfComputeSettings, nvml.Return) { return settings, ret }
	for _, d := range s.Devices {
		d := d.(*dgxa100.Device)
		d.UUID = "GPU-" + d.PciBusID
		d.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) { return pciInfo("0000" + d.PciBusID), nvml.SUCCESS }
		d.GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) {
			return nvml.FEATURE_ENABLED, nvml.FEATURE_ENABLED, nvml.SUCCESS
		}
		d.GetTotalEccErrorsFunc = func(kind nvml.MemoryErrorType, _ nvml.EccCounterType) (uint64, nvml.Return) {
			return 5 - 5*uint64(kind), nvml.SUCCESS
		}
		d.GetRemappedRowsFunc = func() (int, int, bool, bool, nvml.Return) { return 0, 0, false, false, nvml.SUCCESS }
		d.RegisterEventsFunc = func(uint64, nvml.EventSet) nvml.Return { return nvml.SUCCESS }
	}
	return s
}

func pciInfo(bus string) nvml.PciInfo {
	var info nvml.PciInfo
	for i, c := range []byte(bus) {
		info.BusId[i] = int8(c)
	}
	return info
}

func card(s *dgxa100.Server, n int) *dgxa100.Device { return s.Devices[n].(*dgxa100.Device) }

func on() *dgxa100.Server {
	return server(nvml.SystemConfComputeSettings{CcFeature: 1}, nvml.SUCCESS)
}

func TestDevices(t *testing.T) {
	s := on()
	card(s, 1).MigMode = 1
	card(s, 2).GetRemappedRowsFunc = func() (int, int, bool, bool, nvml.Return) { return 0, 1, true, false, nvml.SUCCESS }
	card(s, 3).GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_GPU_IS_LOST }
	list, err := over(s).Devices()
	if err != nil || len(list) != 8 {
		t.Fatalf("%d cards, %v", len(list), err)
	}
	want := gpu.NVMLDevice{BusID: "00000000:00:00.0", UUID: "GPU-0000:00:00.0", Name: "Mock NVIDIA A100-SXM4-40GB",
		MemoryMiB: 40960, ECC: gpu.ECC{Enabled: true, Corrected: 5, CountersKnown: true}, Mode: gpu.ModeOn}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Errorf("first card (-want +got):\n%s", diff)
	}
	if !list[1].MIG || !list[2].ECC.RemapPending || !strings.Contains(list[3].Problem, "memory") {
		t.Errorf("MIG %v, remap %v, problem %q", list[1].MIG, list[2].ECC.RemapPending, list[3].Problem)
	}
	if _, err := gpu.ParseBDF(list[7].BusID); err != nil {
		t.Error(err)
	}
}

func TestTheModeOfTheDriversCards(t *testing.T) {
	for name, test := range map[string]struct {
		settings nvml.SystemConfComputeSettings
		ret      nvml.Return
		want     gpu.Mode
	}{
		"off":                   {nvml.SystemConfComputeSettings{}, nvml.SUCCESS, gpu.ModeOff},
		"on":                    {nvml.SystemConfComputeSettings{CcFeature: 1}, nvml.SUCCESS, gpu.ModeOn},
		"on, NVLink encryption": {nvml.SystemConfComputeSettings{CcFeature: 1, MultiGpuMode: 2}, nvml.SUCCESS, gpu.ModeOn},
		"protected PCIe":        {nvml.SystemConfComputeSettings{MultiGpuMode: 1}, nvml.SUCCESS, gpu.ModePPCIe},
		"devtools":              {nvml.SystemConfComputeSettings{CcFeature: 1, DevToolsMode: 1, MultiGpuMode: 1}, nvml.SUCCESS, gpu.ModeDevtools},
		"a card without it":     {nvml.SystemConfComputeSettings{}, nvml.ERROR_NOT_SUPPORTED, gpu.ModeOff},
		"no answer":             {nvml.SystemConfComputeSettings{CcFeature: 1}, nvml.ERROR_UNKNOWN, gpu.ModeUnreadable},
	} {
		list, err := over(server(test.settings, test.ret)).Devices()
		if err != nil || list[0].Mode != test.want {
			t.Errorf("%s: mode %s, %v; want %s", name, list[0].Mode, err, test.want)
		}
	}
}

// lacking makes the library lack some functions; to call one would end the process.
func lacking(s *dgxa100.Server, symbols ...string) *dgxa100.Server {
	s.LookupSymbolFunc = func(name string) error {
		if slices.Contains(symbols, name) {
			return errors.New("undefined symbol " + name)
		}
		return nil
	}
	return s
}

func TestFunctionsThatAnOldDriverLacksAreNotCalled(t *testing.T) {
	s := lacking(on(), optionalSymbols...)
	s.SystemGetConfComputeSettingsFunc = nil
	for i := range s.Devices {
		d := card(s, i)
		d.GetMigModeFunc, d.GetEccModeFunc, d.GetTotalEccErrorsFunc, d.GetRemappedRowsFunc = nil, nil, nil, nil
	}
	list, err := over(s).Devices()
	if err != nil || len(list) != 8 || list[0].Mode != gpu.ModeUnreadable || list[0].Problem != "" {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, _, err := over(s).WaitXid(0); !errors.Is(err, errNoEvents) {
		t.Errorf("events: %v", err)
	}
	s = lacking(on(), symSettings)
	s.SystemGetConfComputeStateFunc = func() (nvml.ConfComputeSystemState, nvml.Return) {
		return nvml.ConfComputeSystemState{CcFeature: 1}, nvml.SUCCESS
	}
	if list, err := over(s).Devices(); err != nil || list[0].Mode != gpu.ModeOn {
		t.Errorf("the older call: %v", err)
	}
}

func TestNothingIsCalledAfterAFailedInitAndTheNextCallTriesAgain(t *testing.T) {
	ready := on()
	init := nvml.ERROR_LIBRARY_NOT_FOUND
	bare := &mock.Interface{InitFunc: func() nvml.Return { return init }}
	l := over(bare)
	if _, err := l.Devices(); !errors.Is(err, gpu.ErrNoNVML) {
		t.Fatalf("devices: %v", err)
	}
	if _, _, err := l.WaitXid(0); !errors.Is(err, gpu.ErrNoNVML) {
		t.Fatalf("events: %v", err)
	}
	init = nvml.SUCCESS
	bare.ExtensionsFunc, bare.DeviceGetCountFunc = ready.ExtensionsFunc, ready.DeviceGetCountFunc
	bare.DeviceGetHandleByIndexFunc = ready.DeviceGetHandleByIndexFunc
	bare.SystemGetConfComputeSettingsFunc = ready.SystemGetConfComputeSettingsFunc
	if list, err := l.Devices(); err != nil || len(list) != 8 {
		t.Errorf("%d cards once the driver is there, %v", len(list), err)
	}
}

func TestALibraryWithoutTheBasicsIsRefused(t *testing.T) {
	if _, err := over(lacking(on(), "nvmlDeviceGetUUID")).Devices(); !errors.Is(err, gpu.ErrNoNVML) {
		t.Errorf("error %v", err)
	}
}

func TestOddCountsAndLostCards(t *testing.T) {
	s := on()
	s.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i == 4 {
			return nil, nvml.ERROR_GPU_IS_LOST
		}
		return s.Devices[i], nvml.SUCCESS
	}
	if list, err := over(s).Devices(); err != nil || len(list) != 7 {
		t.Errorf("%d cards with one lost, %v", len(list), err)
	}
	for _, n := range []int{-1, maxDevices + 1} {
		s.DeviceGetCountFunc = func() (int, nvml.Return) { return n, nvml.SUCCESS }
		if _, err := over(s).Devices(); err == nil {
			t.Errorf("%d cards were believed", n)
		}
	}
	s.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_UNKNOWN }
	if _, err := over(s).Devices(); err == nil {
		t.Error("a failed count was believed")
	}
}

func TestXids(t *testing.T) {
	s := on()
	var freed int
	answers := []struct {
		data nvml.EventData
		ret  nvml.Return
	}{
		{nvml.EventData{}, nvml.ERROR_TIMEOUT},
		{nvml.EventData{Device: s.Devices[2], EventType: nvml.EventTypeXidCriticalError, EventData: 79}, nvml.SUCCESS},
		{nvml.EventData{EventType: nvml.EventTypeXidCriticalError, EventData: 48}, nvml.SUCCESS},
		{nvml.EventData{EventType: 1}, nvml.SUCCESS},
		{nvml.EventData{}, nvml.ERROR_GPU_IS_LOST},
		{nvml.EventData{}, nvml.ERROR_TIMEOUT},
	}
	set := &mock.EventSet{
		FreeFunc: func() nvml.Return { freed++; return nvml.SUCCESS },
		WaitFunc: func(ms uint32) (nvml.EventData, nvml.Return) {
			if ms != 1500 {
				t.Errorf("wait of %d ms", ms)
			}
			a := answers[0]
			answers = answers[1:]
			return a.data, a.ret
		},
	}
	made := 0
	s.EventSetCreateFunc = func() (nvml.EventSet, nvml.Return) { made++; return set, nvml.SUCCESS }
	l := over(s)
	want := []struct {
		xid  gpu.NVMLXid
		came bool
		fail bool
	}{{came: false}, {xid: gpu.NVMLXid{BusID: "00000000:02:00.0", Xid: 79}, came: true}, {xid: gpu.NVMLXid{Xid: 48}, came: true}, {}, {fail: true}, {}}
	for i, w := range want {
		xid, came, err := l.WaitXid(1500 * time.Millisecond)
		if xid != w.xid || came != w.came || (err != nil) != w.fail {
			t.Errorf("wait %d: %+v, %v, %v; want %+v", i, xid, came, err, w)
		}
	}
	if made != 2 || freed != 1 {
		t.Errorf("%d event sets made, %d freed; a failure should begin anew", made, freed)
	}
}

func TestNoCardThatReportsXidsIsAnError(t *testing.T) {
	s := on()
	for i := range s.Devices {
		card(s, i).RegisterEventsFunc = func(uint64, nvml.EventSet) nvml.Return { return nvml.ERROR_NOT_SUPPORTED }
	}
	freed := false
	s.EventSetCreateFunc = func() (nvml.EventSet, nvml.Return) {
		return &mock.EventSet{FreeFunc: func() nvml.Return { freed = true; return nvml.SUCCESS }}, nvml.SUCCESS
	}
	if _, _, err := over(s).WaitXid(0); !errors.Is(err, errNoEvents) || !freed {
		t.Errorf("error %v, freed %v", err, freed)
	}
	s.EventSetCreateFunc = func() (nvml.EventSet, nvml.Return) { return nil, nvml.ERROR_UNKNOWN }
	if _, _, err := over(s).WaitXid(0); err == nil {
		t.Error("a failed event set was used")
	}
}

func TestAHostWithoutDriverSaysSo(t *testing.T) {
	// The one call into the real loader that can be made anywhere: there is
	// either no library here, or one that answers.
	if _, err := New().Devices(); err != nil && !errors.Is(err, gpu.ErrNoNVML) {
		t.Errorf("error %v", err)
	}
}
