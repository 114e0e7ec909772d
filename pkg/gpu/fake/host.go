package fake

import (
	"errors"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Host describes a host's GPUs.
type Host struct {
	// Name distinguishes the UUIDs of one fake host's cards from another's.
	Name string
	// Model is one of H100, H200, B200, B300.
	Model string
	// GPUs is the number of cards, 0 to 16.
	GPUs int
	// Switches is the number of NVSwitches, 0 to 4.
	Switches int
	// Mode is the mode of all cards that don't say otherwise.
	Mode gpu.Mode
	// ModeSwitch says how a change of mode goes.
	ModeSwitch ModeSwitch
	// Cards lists the cards that differ from the rest.
	Cards []Card
}

// ModeSwitch says how SetMode behaves.
type ModeSwitch struct {
	// Duration is how long it takes, up to an hour.
	Duration time.Duration
	// Fail, if not empty, is the text of the error it ends with.
	Fail string
	// LeaveMixed leaves half of the cards in the new mode when a change fails
	// or is interrupted; otherwise all stay in the old one.
	LeaveMixed bool
}

// Card is what is special about one card.
type Card struct {
	// Index counts the host's cards from 0, in the order of their addresses.
	Index int
	// Sick, if not empty, makes the card unhealthy, with this text.
	Sick string
	// MIG turns MIG on.
	MIG bool
	// Mode overrides the host's mode; empty leaves it.
	Mode gpu.Mode
	// Driver overrides vfio-pci; empty leaves it.
	Driver gpu.Driver
	// Missing takes the card off the bus.
	Missing bool
}

// ErrHost says that a host's description is not usable.
var ErrHost = errors.New("fake host")

// chip is what the model's name stands for.
type chip struct {
	deviceID  uint16
	memoryMiB uint64
}

// chips are the models that a host may have; the memory sizes are what
// nvidia-smi shows for them.
var chips = map[string]chip{
	"H100": {0x2330, 81559},
	"H200": {0x2335, 143771},
	"B200": {0x2901, 183359},
	"B300": {0x3182, 275040},
}

// buses are the bus numbers of the cards, four a NUMA node.
var buses = [...]byte{0x17, 0x2a, 0x3d, 0x5d, 0x9a, 0xab, 0xba, 0xdb, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8}

const (
	mostSwitches = 4
	longest      = time.Hour
	switchDevice = 0x22a3 // GH100 NVSwitch, from the PCI ID repository
)

// Validate says what is wrong with a description, as ErrHost.
func (h Host) Validate() error {
	_, known := chips[h.Model]
	switch {
	case h.GPUs < 0 || h.GPUs > len(buses):
		return fmt.Errorf("%w: gpus is %d; it goes from 0 to %d", ErrHost, h.GPUs, len(buses))
	case h.GPUs > 0 && !known:
		return fmt.Errorf("%w: unknown model %q; known are H100, H200, B200, B300", ErrHost, h.Model)
	case h.Switches < 0 || h.Switches > mostSwitches:
		return fmt.Errorf("%w: switches is %d; it goes from 0 to %d", ErrHost, h.Switches, mostSwitches)
	case h.GPUs > 0 && !validMode(h.Mode):
		return fmt.Errorf("%w: mode is %q; it is one of off, on, devtools, ppcie, unreadable", ErrHost, h.Mode)
	case h.ModeSwitch.Duration < 0 || h.ModeSwitch.Duration > longest:
		return fmt.Errorf("%w: mode_switch.duration is %s; it goes from 0 to %s", ErrHost, h.ModeSwitch.Duration, longest)
	}
	seen := map[int]bool{}
	for _, c := range h.Cards {
		switch {
		case c.Index < 0 || c.Index >= h.GPUs:
			return fmt.Errorf("%w: there is no card %d among %d", ErrHost, c.Index, h.GPUs)
		case seen[c.Index]:
			return fmt.Errorf("%w: card %d is described twice", ErrHost, c.Index)
		case c.Mode != "" && !validMode(c.Mode):
			return fmt.Errorf("%w: card %d has unknown mode %q", ErrHost, c.Index, c.Mode)
		}
		seen[c.Index] = true
	}
	return nil
}

// validMode reports whether m is a mode that a fake card can be in.
func validMode(m gpu.Mode) bool {
	switch m {
	case gpu.ModeOff, gpu.ModeOn, gpu.ModeDevtools, gpu.ModePPCIe, gpu.ModeUnreadable:
		return true
	default:
		return false
	}
}
