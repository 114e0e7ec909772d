package gpu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Allocation is the cards of one enclave.
type Allocation struct {
	GPUs     []GPU    // sorted by address
	Switches []Switch // sorted by address; all of the host's in protected PCIe, else none
	// Mode is the mode that the cards must be in when the enclave starts; empty
	// for an enclave without GPUs.
	Mode Mode
	// SwitchFirst says that the host isn't in Mode yet: ModeSetter.SetMode has
	// to bring it there before the enclave starts.
	SwitchFirst bool
}

// Errors of Allocate.
var (
	// ErrNotEnough says that the cards are not to be had now. The error is a
	// *NotEnoughError.
	ErrNotEnough = errors.New("not enough GPUs")
	// ErrCount says that no enclave on this host can ever have that many.
	ErrCount = errors.New("this number of GPUs can't be given to one enclave here")
)

// Withheld is a card that is not offered, and why.
type Withheld struct {
	BDF     BDF
	Reasons []Reason
}

// NotEnoughError says how many cards could be had, and why each of the others
// could not. It matches ErrNotEnough.
type NotEnoughError struct {
	Want     int
	Free     int   // cards that are free and sound
	Offers   []int // the counts that could be had instead
	Withheld []Withheld
}

// Error implements error, with one clause a withheld card.
func (e *NotEnoughError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %d wanted, %d free, counts on offer now %v", ErrNotEnough, e.Want, e.Free, e.Offers)
	for _, w := range e.Withheld {
		texts := make([]string, len(w.Reasons))
		for i, r := range w.Reasons {
			texts[i] = r.Text
		}
		fmt.Fprintf(&b, "; %s: %s", w.BDF, strings.Join(texts, ", "))
	}
	return b.String()
}

// Is reports whether target is ErrNotEnough.
func (e *NotEnoughError) Is(target error) bool { return target == ErrNotEnough }

// Offers returns the counts of GPUs, from 1 and ascending, that an enclave
// could be given right now under these rules. A count of 0 is always to be had
// and is not listed. Allocate succeeds for exactly these counts and 0.
func Offers(s Snapshot, held Held, rules Rules) []int {
	s = ordered(s)
	offers := []int{}
	for _, n := range Permitted(s, rules) {
		if _, ok := allocate(s, held, n, rules); ok {
			offers = append(offers, n)
		}
	}
	return offers
}

// Allocate chooses n GPUs for one enclave: all of them or none. It changes
// nothing. The choice depends only on the arguments: one model, one NUMA node
// if possible, neighbours in the smallest gap that fits, lowest address first.
//
// A count that no enclave can have on this host gives ErrCount; one that can't
// be had now a *NotEnoughError.
func Allocate(s Snapshot, held Held, n int, rules Rules) (Allocation, error) {
	if n == 0 {
		return Allocation{}, nil
	}
	s = ordered(s)
	can := Permitted(s, rules)
	if n < 0 || n <= len(s.GPUs) && len(can) > 0 && !slices.Contains(can, n) {
		return Allocation{}, fmt.Errorf("%d GPUs: %w: permitted are %v", n, ErrCount, can)
	}
	if a, ok := allocate(s, held, n, rules); ok {
		return a, nil
	}
	shortage := &NotEnoughError{Want: n, Offers: Offers(s, held, rules)}
	for _, c := range Assess(s, held, rules) {
		if c.Offered {
			shortage.Free++
		} else {
			shortage.Withheld = append(shortage.Withheld, Withheld{c.BDF, c.Why})
		}
	}
	return Allocation{}, shortage
}

// allocate tries the host's present mode, then the one it could be switched
// to. The snapshot is ordered and n above 0.
func allocate(s Snapshot, held Held, n int, rules Rules) (Allocation, bool) {
	mode, mixed := hostMode(s)
	if mixed {
		return Allocation{}, false
	}
	offered := []GPU{}
	for _, c := range Assess(s, held, rules) {
		if c.Offered {
			offered = append(offered, c.GPU)
		}
	}
	if a, ok := inMode(s, offered, n, mode); ok {
		return a, true
	}
	other, ok := switchable(s, mode, rules)
	if !ok || !idleAndSound(s, held, offered) {
		return Allocation{}, false
	}
	a, ok := inMode(s, offered, n, other)
	a.SwitchFirst = ok
	return a, ok
}

// inMode chooses n of the offered cards as they may be combined in a mode.
func inMode(s Snapshot, offered []GPU, n int, mode Mode) (Allocation, bool) {
	fitting := slices.DeleteFunc(slices.Clone(offered), func(g GPU) bool {
		return !slices.Contains(permitted(g.DeviceID, mode, len(s.GPUs)), n)
	})
	chosen := pick(s.GPUs, fitting, n)
	if chosen == nil {
		return Allocation{}, false
	}
	a := Allocation{GPUs: chosen, Mode: mode}
	if mode == ModePPCIe {
		a.Switches = slices.Clone(s.Switches)
	}
	return a, true
}

// idleAndSound reports whether nobody holds anything on the host and every
// card can be trusted to come through a change of mode.
func idleAndSound(s Snapshot, held Held, offered []GPU) bool {
	if len(held) > 0 || len(offered) != len(s.GPUs) {
		return false
	}
	for _, w := range s.Switches {
		if switchDefect(w, held) != "" {
			return false
		}
	}
	return true
}
