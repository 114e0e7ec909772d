package gpu

import (
	"cmp"
	"fmt"
	"slices"
)

// Card is a GPU together with whether it is on offer.
type Card struct {
	GPU
	Holder  string   // who holds it; empty if nobody does
	Offered bool     // it may be part of an allocation now
	Why     []Reason // why it is not offered; empty if it is
}

// Assess says of each GPU, in the order of their addresses, whether it is on
// offer under these rules, and every reason if not.
func Assess(s Snapshot, held Held, rules Rules) []Card {
	s = ordered(s)
	mode, mixed := hostMode(s)
	cards := make([]Card, len(s.GPUs))
	for i, g := range s.GPUs {
		cards[i] = Card{GPU: g, Holder: held[g.BDF], Why: defects(s, i, held)}
		switch r := modeReason(g.Mode, rules); {
		case mixed:
			cards[i].Why = append(cards[i].Why, Reason{ReasonMixedModes,
				"the host's cards are in different modes: bring all of them to one"})
		case g.Mode == ModeUnreadable || g.Mode == "":
			cards[i].Why = append(cards[i].Why, *modeReason(ModeUnreadable, rules))
		case r != nil:
			cards[i].Why = append(cards[i].Why, *r)
		case len(permitted(g.DeviceID, mode, boardGPUs)) == 0:
			cards[i].Why = append(cards[i].Why, Reason{ReasonUnsupported,
				fmt.Sprintf("no rule is known for %s in mode %s", g.Model, mode)})
		}
	}
	if mode == ModePPCIe {
		withholdPartial(s, held, cards)
	}
	for i := range cards {
		cards[i].Offered = len(cards[i].Why) == 0
	}
	return cards
}

// defects lists what is wrong with GPU i in itself, whatever it is wanted for.
// The snapshot is ordered.
func defects(s Snapshot, i int, held Held) []Reason {
	g := s.GPUs[i]
	why := slices.Clone(g.Reasons)
	if holder, ok := held[g.BDF]; ok {
		why = append(why, Reason{ReasonHeld, "held by " + holder})
	}
	if !g.Healthy && len(g.Reasons) == 0 {
		why = append(why, Reason{ReasonSick, "the card is reported unhealthy"})
	}
	if g.MIG {
		why = append(why, Reason{ReasonMIG, "MIG is on, and a slice can't be passed to a VM: turn MIG off"})
	}
	if !handsOver(g.Driver) {
		why = append(why, Reason{ReasonDriver, fmt.Sprintf("bound to driver %q: unbind it", string(g.Driver))})
	}
	if i > 0 && s.GPUs[i-1].BDF == g.BDF || i+1 < len(s.GPUs) && s.GPUs[i+1].BDF == g.BDF {
		why = append(why, Reason{ReasonDuplicate, "the inventory lists this address more than once"})
	}
	return why
}

// handsOver reports whether a card bound to d can be given to an enclave.
func handsOver(d Driver) bool {
	return d == DriverNVIDIA || d == DriverVFIO || d == DriverNone
}

// withholdPartial withholds every card of a protected-PCIe host that isn't
// wholly free and sound: its GPUs and NVSwitches go together or not at all.
func withholdPartial(s Snapshot, held Held, cards []Card) {
	reason := ""
	if !wholeBoard(s) {
		reason = fmt.Sprintf("protected PCIe needs %d GPUs and %d NVSwitches, and the host shows %d and %d",
			boardGPUs, boardSwitches, len(s.GPUs), len(s.Switches))
	}
	for _, w := range s.Switches {
		if why := switchDefect(w, held); why != "" && reason == "" {
			reason = fmt.Sprintf("protected PCIe needs every NVSwitch, and %s %s", w.BDF, why)
		}
	}
	for _, c := range cards {
		if len(c.Why) > 0 && reason == "" {
			reason = fmt.Sprintf("protected PCIe needs every GPU, and %s is not to be had: %s", c.BDF, c.Why[0].Text)
		}
	}
	for i := range cards {
		if reason != "" && len(cards[i].Why) == 0 {
			cards[i].Why = []Reason{{ReasonIncomplete, reason}}
		}
	}
}

// switchDefect says what keeps an NVSwitch from being handed over; "" if
// nothing does.
func switchDefect(w Switch, held Held) string {
	holder, taken := held[w.BDF]
	switch {
	case taken:
		return "is held by " + holder
	case len(w.Reasons) > 0:
		return "is not to be had: " + w.Reasons[0].Text
	case !w.Healthy:
		return "is reported unhealthy"
	case !handsOver(w.Driver):
		return fmt.Sprintf("is bound to driver %q", string(w.Driver))
	default:
		return ""
	}
}

// Quarantine returns a copy of the snapshot in which the cards at the given
// addresses carry the reason ReasonQuarantine with the text given for each.
func Quarantine(s Snapshot, cards map[BDF]string) Snapshot {
	s.GPUs, s.Switches = slices.Clone(s.GPUs), slices.Clone(s.Switches)
	for i, g := range s.GPUs {
		if text, ok := cards[g.BDF]; ok {
			s.GPUs[i].Reasons = append(slices.Clone(g.Reasons), Reason{ReasonQuarantine, text})
		}
	}
	for i, w := range s.Switches {
		if text, ok := cards[w.BDF]; ok {
			s.Switches[i].Reasons = append(slices.Clone(w.Reasons), Reason{ReasonQuarantine, text})
		}
	}
	return s
}

// ordered returns a copy with GPUs and NVSwitches sorted by address.
func ordered(s Snapshot) Snapshot {
	s.GPUs, s.Switches = slices.Clone(s.GPUs), slices.Clone(s.Switches)
	slices.SortStableFunc(s.GPUs, func(a, b GPU) int { return cmp.Compare(a.BDF, b.BDF) })
	slices.SortStableFunc(s.Switches, func(a, b Switch) int { return cmp.Compare(a.BDF, b.BDF) })
	return s
}
