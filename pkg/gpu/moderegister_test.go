package gpu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestModeRegister(t *testing.T) {
	tests := []struct {
		rule     string
		device   uint16
		register uint32
		want     Mode
	}{
		{"Hopper off", idH200, 0, ModeOff},
		{"Hopper on", idH200, 1, ModeOn},
		{"Hopper devtools", idH100, 3, ModeDevtools},
		{"the other bits don't matter", idH100, 0xabcd_0001, ModeOn},
		{"Blackwell on", idB200, 1, ModeOn},
		{"all ones is unreadable, never devtools", idB200, 0xffffffff, ModeUnreadable},
		{"a value of no mode is unreadable", idH200, 2, ModeUnreadable},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			root := sysfs(t, map[string]slot{"0000:17:00.0": gpuSlot(test.device, "vfio-pci", 40, test.register)})
			_, generation := Model(test.device)
			got, err := ModeRegister{Root: root}.ReadMode(t.Context(), "0000:17:00.0", generation)
			if got != test.want || (err != nil) != (test.want == ModeUnreadable) {
				t.Errorf("mode %s, %v; want %s", got, err, test.want)
			}
			control, err := os.ReadFile(filepath.Join(root, pciDevices, "0000:17:00.0/power/control"))
			if err != nil || string(control[:2]) != "on" {
				t.Errorf("power/control is %q, %v: the card was not woken", control, err)
			}
		})
	}
}

func TestModeRegisterRefusesWhatItCannotRead(t *testing.T) {
	root := sysfs(t, map[string]slot{"0000:17:00.0": gpuSlot(idH200, "", 0, 1)})
	m := ModeRegister{Root: root}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if mode, err := m.ReadMode(ctx, "0000:17:00.0", Hopper); mode != ModeUnreadable || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %s, %v", mode, err)
	}
	if mode, err := m.ReadMode(t.Context(), "0000:17:00.0", OtherChips); mode != ModeUnreadable || !errors.Is(err, errModeUnreadable) {
		t.Errorf("unknown generation: %s, %v", mode, err)
	}
	if mode, err := m.ReadMode(t.Context(), "0000:18:00.0", Hopper); mode != ModeUnreadable || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing card: %s, %v", mode, err)
	}
	put(t, root, pciDevices+"/0000:17:00.0/resource0", "short")
	if mode, err := m.ReadMode(t.Context(), "0000:17:00.0", Hopper); mode != ModeUnreadable || !errors.Is(err, errModeUnreadable) {
		t.Errorf("short BAR: %s, %v", mode, err)
	}
}
