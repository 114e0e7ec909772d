package gpu

import "slices"

// Held says who holds which card, GPUs and NVSwitches alike: PCI address to
// the holder's name. A card that isn't in it is free, whatever its driver.
type Held map[BDF]string

// Rules say for what kind of enclave cards are sought, and what may be done to
// the host to get them. The zero value is the strict one.
type Rules struct {
	// Insecure is set for an enclave without a CPU TEE (profile "none"). Such
	// an enclave gets only cards in ModeOff, and no other enclave gets those.
	// A simulated TEE counts as a TEE here.
	Insecure bool
	// Debug is set for a debug enclave, which may have cards in ModeDevtools.
	Debug bool
	// SwitchModes says that the modes of an idle host's cards may be changed
	// between ModeOn and ModePPCIe, all together.
	SwitchModes bool
}

// An eight-GPU Hopper board and its NVSwitches go to one CVM as a whole:
// NVIDIA, "R580 TRD1 Release Notes", "Eight Hopper GPUs with Four NVSwitch
// Passthrough".
const (
	boardGPUs     = 8
	boardSwitches = 4
)

// confidentialGroups are the counts that one CVM may be given of an NVLink
// Blackwell board in ModeOn: one, or a partition of the NVSwitch fabric. NVIDIA
// lists B200 and B300 for single- and multi-GPU passthrough in CC mode, with
// NVLink encrypted and the NVSwitches outside the trusted base
// (docs.nvidia.com/confidential-computing, "Supported Platforms"); the sizes of
// partitions are those of the "Fabric Manager User Guide", section 6.
var confidentialGroups = []int{1, 2, 4, 8}

// permitted returns the counts that one enclave may be given of cards with
// this device id in this mode, at most limit, ascending.
//
//   - Hopper in ModeOn: one a CVM ("R580 TRD1 Release Notes", "Hopper Single
//     GPU Passthrough: one GPU can be passed through for each CVM").
//   - Hopper in ModePPCIe: the whole board.
//   - Blackwell in ModeOn: see confidentialGroups; one for cards without NVLink.
//   - ModeOff: any power of two, no CVM being involved.
func permitted(deviceID uint16, mode Mode, limit int) []int {
	m := models[deviceID]
	var counts []int
	switch {
	case mode == ModeOff:
		for n := 1; n <= limit; n *= 2 {
			counts = append(counts, n)
		}
	case mode == ModePPCIe && m.generation == Hopper && m.nvlink:
		counts = []int{boardGPUs}
	case mode != ModeOn && mode != ModeDevtools:
	case m.generation == Blackwell && m.nvlink:
		counts = slices.Clone(confidentialGroups)
	case m.generation == Hopper || m.generation == Blackwell:
		counts = []int{1}
	}
	return slices.DeleteFunc(counts, func(n int) bool { return n > limit })
}

// Permitted returns the counts that the host could give under these rules were
// all its cards sound and free, ascending; empty where its mode allows none.
func Permitted(s Snapshot, rules Rules) []int {
	modes := []Mode{}
	if mode, mixed := hostMode(s); !mixed && modeReason(mode, rules) == nil {
		modes = append(modes, mode)
		if other, ok := switchable(s, mode, rules); ok {
			modes = append(modes, other)
		}
	}
	var counts []int
	for _, g := range s.GPUs {
		for _, mode := range modes {
			counts = append(counts, permitted(g.DeviceID, mode, len(s.GPUs))...)
		}
	}
	slices.Sort(counts)
	return slices.Compact(counts)
}

// switchable returns the mode that a whole Hopper board in this mode could be
// switched to. It does not ask whether the board is idle and sound.
func switchable(s Snapshot, mode Mode, rules Rules) (Mode, bool) {
	if !rules.SwitchModes || rules.Insecure || !wholeBoard(s) {
		return "", false
	}
	switch mode {
	case ModeOn:
		return ModePPCIe, true
	case ModePPCIe:
		return ModeOn, true
	default:
		return "", false
	}
}

// wholeBoard reports whether the host is one eight-GPU Hopper board with all
// its NVSwitches, and nothing else.
func wholeBoard(s Snapshot) bool {
	if len(s.GPUs) != boardGPUs || len(s.Switches) != boardSwitches {
		return false
	}
	for _, g := range s.GPUs {
		m := models[g.DeviceID]
		if m.generation != Hopper || !m.nvlink || g.DeviceID != s.GPUs[0].DeviceID {
			return false
		}
	}
	return true
}

// hostMode returns the mode that all readable cards agree on, ModeUnreadable
// if there is none to read. Mixed is set when they disagree: NVIDIA supports a
// host with all GPUs in CC mode, or all GPUs and NVSwitches in protected PCIe,
// and nothing between ("PPCIE Verifier", Introduction).
func hostMode(s Snapshot) (mode Mode, mixed bool) {
	mode = ModeUnreadable
	for _, g := range s.GPUs {
		switch {
		case g.Mode == ModeUnreadable || g.Mode == "":
		case mode == ModeUnreadable:
			mode = g.Mode
		case g.Mode != mode:
			return ModeUnreadable, true
		}
	}
	for _, w := range s.Switches {
		known := w.Mode != ModeUnreadable && w.Mode != ""
		if known && (w.Mode == ModePPCIe) != (mode == ModePPCIe) {
			return ModeUnreadable, true
		}
	}
	return mode, false
}

// modeReason says why cards in this mode are not for the rules' enclave.
func modeReason(mode Mode, rules Rules) *Reason {
	switch {
	case mode == ModeUnreadable:
		return &Reason{ReasonUnreadable, "the confidential-computing mode can't be read: wake the card and enable memory decoding"}
	case rules.Insecure && mode != ModeOff:
		return &Reason{ReasonWrongMode, "the card is in mode " + string(mode) + ", which needs an enclave in a CPU TEE"}
	case rules.Insecure:
		return nil
	case mode == ModeOff:
		return &Reason{ReasonInsecureMode, "confidential computing is off on the card: set its mode to on"}
	case mode == ModeDevtools && !rules.Debug:
		return &Reason{ReasonInsecureMode, "the card is in devtools mode, which only debug enclaves may use"}
	default:
		return nil
	}
}
