package gpu

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	modes     = []Mode{ModeOn, ModeOn, ModeOn, ModePPCIe, ModeOff, ModeDevtools, ModeUnreadable}
	deviceIDs = []uint16{idH200, idB200, idH100, 0x2331, 0x2bb5, 0x20b0}
)

// anyHost draws a host of one board with some faults, holders and rules.
func anyHost(t *rapid.T) (Snapshot, Held, Rules) {
	n := rapid.SampledFrom([]int{0, 1, 2, 4, 8, 8, 8, 10}).Draw(t, "cards")
	s := host(n, rapid.SampledFrom(deviceIDs).Draw(t, "device"), rapid.SampledFrom(modes).Draw(t, "mode"),
		rapid.SampledFrom([]int{0, 4, 4, 4}).Draw(t, "switches"))
	held := Held{}
	for i := range s.GPUs {
		spoil(t, &s.GPUs[i], held)
	}
	if rapid.IntRange(0, 9).Draw(t, "sick switch") == 0 && len(s.Switches) > 0 {
		s.Switches[0].Healthy = false
	}
	s.GPUs = rapid.Permutation(s.GPUs).Draw(t, "order")
	return s, held, Rules{
		Insecure:    rapid.Bool().Draw(t, "insecure"),
		Debug:       rapid.Bool().Draw(t, "debug"),
		SwitchModes: rapid.Bool().Draw(t, "switch modes"),
	}
}

// spoil gives a card one of the faults that keep it from being offered, or none.
func spoil(t *rapid.T, g *GPU, held Held) {
	switch rapid.IntRange(0, 40).Draw(t, "fault") {
	case 1:
		g.Healthy = false
	case 2:
		g.MIG = true
	case 3:
		g.Mode = ModeUnreadable
	case 4:
		g.Reasons = []Reason{{ReasonQuarantine, "unknown owner"}}
	case 5:
		g.Mode = rapid.SampledFrom(modes).Draw(t, "its mode")
	case 6:
		g.Driver = "nouveau"
	case 7:
		g.BDF = at(0)
	case 8, 9, 10, 11:
		held[g.BDF] = "box-r1-1"
	}
}

func TestOffersAgreeWithAllocateForEveryCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, held, rules := anyHost(t)
		offers := Offers(s, held, rules)
		for n := 1; n <= 17; n++ {
			_, err := Allocate(s, held, n, rules)
			if offered := slices.Contains(offers, n); offered != (err == nil) {
				t.Fatalf("%d GPUs offered: %v, allocated: %v", n, offered, err)
			}
			if err != nil && !errors.Is(err, ErrNotEnough) && !errors.Is(err, ErrCount) {
				t.Fatalf("%d GPUs: untyped error %v", n, err)
			}
		}
	})
}

func TestAnAllocationIsAllOrNothingOfFreeSoundCards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, held, rules := anyHost(t)
		n := rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "n")
		a, err := Allocate(s, held, n, rules)
		if err != nil {
			if len(a.GPUs)+len(a.Switches) > 0 {
				t.Fatalf("refused with cards: %+v", a)
			}
			return
		}
		if len(a.GPUs) != n {
			t.Fatalf("%d cards of %d", len(a.GPUs), n)
		}
		seen := map[BDF]bool{}
		for _, g := range a.GPUs {
			checkGiven(t, g, held, rules)
			if seen[g.BDF] {
				t.Fatalf("%s twice", g.BDF)
			}
			seen[g.BDF] = true
		}
		if a.SwitchFirst && (len(held) > 0 || !rules.SwitchModes) {
			t.Fatal("a host in use, or not to be switched, is switched")
		}
		if a.Mode == ModePPCIe && (len(a.GPUs) != len(s.GPUs) || len(a.Switches) != len(s.Switches)) {
			t.Fatal("protected PCIe without the whole board")
		}
	})
}

// checkGiven fails if a card should not have been given.
func checkGiven(t *rapid.T, g GPU, held Held, rules Rules) {
	_, taken := held[g.BDF]
	if taken || !g.Healthy || g.MIG || len(g.Reasons) > 0 || g.Mode == ModeUnreadable || g.Driver == "nouveau" {
		t.Fatalf("given: %+v, held %v", g, taken)
	}
	if rules.Insecure != (g.Mode == ModeOff) || g.Mode == ModeDevtools && !rules.Debug {
		t.Fatalf("mode %s given under %+v", g.Mode, rules)
	}
	if g.Generation == OtherChips && !rules.Insecure {
		t.Fatalf("%s given to a TEE", g.Model)
	}
}

func TestNoSequenceOfAllocationsGivesACardTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, held, rules := anyHost(t)
		rules.SwitchModes = false
		for _, n := range rapid.SliceOfN(rapid.SampledFrom([]int{1, 1, 2, 4, 8}), 1, 12).Draw(t, "counts") {
			a, err := Allocate(s, held, n, rules)
			for _, g := range a.GPUs {
				if holder, ok := held[g.BDF]; ok || err != nil {
					t.Fatalf("%s given while held by %s (%v)", g.BDF, holder, err)
				}
				held[g.BDF] = "next"
			}
		}
	})
}

func TestAllocateDependsOnItsArgumentsOnlyAndNotOnTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, held, rules := anyHost(t)
		n := rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "n")
		sorted := ordered(s)
		a, _ := Allocate(s, held, n, rules)
		b, _ := Allocate(sorted, held, n, rules)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("order matters:\n%s", diff)
		}
	})
}

func TestEveryCardIsOfferedOrHasAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, held, rules := anyHost(t)
		cards := Assess(s, held, rules)
		if len(cards) != len(s.GPUs) {
			t.Fatalf("%d cards assessed of %d", len(cards), len(s.GPUs))
		}
		for _, c := range cards {
			if c.Offered != (len(c.Why) == 0) {
				t.Fatalf("%s: offered %v with reasons %v", c.BDF, c.Offered, c.Why)
			}
		}
	})
}
