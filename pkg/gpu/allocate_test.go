package gpu

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	idH100 = 0x2330
	idH200 = 0x2335
	idB200 = 0x2901
)

// host makes n sound cards of one model, four a NUMA node, and NVSwitches.
func host(n int, deviceID uint16, mode Mode, switches int) Snapshot {
	var s Snapshot
	name, generation := Model(deviceID)
	for i := range n {
		s.GPUs = append(s.GPUs, GPU{
			Index: i, BDF: at(i), Model: name, Generation: generation, DeviceID: deviceID,
			Driver: DriverVFIO, NUMANode: i / 4, Mode: mode, Healthy: true,
		})
	}
	for i := range switches {
		w := Switch{BDF: BDF(fmt.Sprintf("0000:c%d:00.0", i)), Driver: DriverVFIO, Mode: ModeOff, Healthy: true}
		if mode == ModePPCIe {
			w.Mode = ModePPCIe
		}
		s.Switches = append(s.Switches, w)
	}
	return s
}

// at is the address of card i of a host made by host.
func at(i int) BDF { return BDF(fmt.Sprintf("0000:%02x:00.0", 0x10+i)) }

// holding is a Held in which one enclave holds the cards given by index.
func holding(cards ...int) Held {
	held := Held{}
	for _, i := range cards {
		held[at(i)] = "box-r1-1"
	}
	return held
}

// with changes card i of a host.
func with(s Snapshot, i int, change func(*GPU)) Snapshot {
	change(&s.GPUs[i])
	return s
}

func TestOffers(t *testing.T) {
	sick := func(g *GPU) { g.Healthy = false }
	switching := Rules{SwitchModes: true}
	tests := []struct {
		rule  string
		host  Snapshot
		held  Held
		rules Rules
		want  []int
	}{
		{"a host without GPUs offers none", host(0, 0, ModeOff, 0), nil, Rules{}, []int{}},
		{"Hopper in CC mode gives one at a time", host(8, idH200, ModeOn, 4), nil, Rules{}, []int{1}},
		{"an idle Hopper board that may be switched gives one or all", host(8, idH200, ModeOn, 4), nil, switching, []int{1, 8}},
		{"a Hopper board with one card held is not switched", host(8, idH200, ModeOn, 4), holding(3), switching, []int{1}},
		{"a Hopper board with a sick card is not switched", with(host(8, idH200, ModeOn, 4), 2, sick), nil, switching, []int{1}},
		{"a held card that PCI no longer shows keeps the board from being switched",
			host(8, idH200, ModeOn, 4), Held{"0000:ff:00.0": "lost"}, switching, []int{1}},
		{"a Hopper board without all its switches is not switched", host(8, idH200, ModeOn, 3), nil, switching, []int{1}},
		{"protected PCIe gives all eight", host(8, idH200, ModePPCIe, 4), nil, Rules{}, []int{8}},
		{"an idle protected-PCIe board may go back to single cards", host(8, idH200, ModePPCIe, 4), nil, switching, []int{1, 8}},
		{"protected PCIe with a card held gives nothing", host(8, idH200, ModePPCIe, 4), holding(0), switching, []int{}},
		{"protected PCIe with a sick card gives nothing", with(host(8, idH200, ModePPCIe, 4), 7, sick), nil, switching, []int{}},
		{"protected PCIe with a switch missing gives nothing", host(8, idH200, ModePPCIe, 3), nil, Rules{}, []int{}},
		{"a board where all cards are held offers nothing", host(8, idH200, ModeOn, 4), holding(0, 1, 2, 3, 4, 5, 6, 7), switching, []int{}},
		{"Blackwell in CC mode gives partitions", host(8, idB200, ModeOn, 0), nil, Rules{}, []int{1, 2, 4, 8}},
		{"Blackwell with one held gives what is left", host(8, idB200, ModeOn, 0), holding(0), Rules{}, []int{1, 2, 4}},
		{"Blackwell without NVLink gives one", host(4, 0x2bb5, ModeOn, 0), nil, Rules{}, []int{1}},
		{"cards with CC off are not for a TEE", host(8, idH200, ModeOff, 4), nil, switching, []int{}},
		{"cards with CC off go to insecure enclaves in powers of two", host(6, idH100, ModeOff, 0), nil, Rules{Insecure: true}, []int{1, 2, 4}},
		{"cards in CC mode are not for insecure enclaves", host(8, idH200, ModeOn, 4), nil, Rules{Insecure: true, SwitchModes: true}, []int{}},
		{"devtools is not for a real enclave", host(2, idH100, ModeDevtools, 0), nil, Rules{}, []int{}},
		{"devtools is for a debug enclave", host(2, idH100, ModeDevtools, 0), nil, Rules{Debug: true}, []int{1}},
		{"devtools is not for an insecure debug enclave", host(2, idH100, ModeDevtools, 0), nil, Rules{Debug: true, Insecure: true}, []int{}},
		{"a mix of modes offers nothing", with(host(8, idH200, ModeOn, 4), 5, func(g *GPU) { g.Mode = ModeOff }), nil, switching, []int{}},
		{"an unreadable card is no mix", with(host(2, idH100, ModeOn, 0), 0, func(g *GPU) { g.Mode = ModeUnreadable }), nil, Rules{}, []int{1}},
		{"a model without a rule is not offered to a TEE", host(2, 0x20b0, ModeOn, 0), nil, Rules{}, []int{}},
		{"MIG is not offered", with(host(1, idH100, ModeOn, 0), 0, func(g *GPU) { g.MIG = true }), nil, Rules{}, []int{}},
		{"a foreign driver's card is not offered", with(host(1, idH100, ModeOn, 0), 0, func(g *GPU) { g.Driver = "nouveau" }), nil, Rules{}, []int{}},
		{"a card with a reason against it is not offered", with(host(1, idH100, ModeOn, 0), 0,
			func(g *GPU) { g.Reasons = []Reason{{ReasonSick, "Xid 79"}} }), nil, Rules{}, []int{}},
		{"an address listed twice is not offered", with(host(2, idH100, ModeOn, 0), 0, func(g *GPU) { g.BDF = at(1) }), nil, Rules{}, []int{}},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Offers(test.host, test.held, test.rules)); diff != "" {
				t.Errorf("offers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSwitchMixedWithGPUsIsAMix(t *testing.T) {
	for _, mode := range []Mode{ModeOn, ModePPCIe} {
		s := host(8, idH200, mode, 4)
		s.Switches[2].Mode = map[Mode]Mode{ModeOn: ModePPCIe, ModePPCIe: ModeOff}[mode]
		cards := Assess(s, nil, Rules{})
		if cards[0].Offered || cards[0].Why[0].Code != ReasonMixedModes {
			t.Errorf("GPUs in %s, a switch in another: %+v", mode, cards[0].Why)
		}
	}
}

func TestAllocateChoosesTheTightestPlace(t *testing.T) {
	tests := []struct {
		rule string
		held Held
		n    int
		want []int
	}{
		{"an empty host is filled from its lowest address", nil, 1, []int{0}},
		{"one card goes beside a held one", holding(4), 1, []int{5}},
		{"a pair leaves the untouched node whole", holding(4), 2, []int{6, 7}},
		{"a pair never straddles nodes while one node has two", holding(0, 1, 2), 2, []int{4, 5}},
		{"four go on the free node", holding(0), 4, []int{4, 5, 6, 7}},
		{"four from two nodes if no node has four", holding(0, 4), 4, []int{1, 2, 3, 5}},
		{"eight are all", nil, 8, []int{0, 1, 2, 3, 4, 5, 6, 7}},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			a, err := Allocate(host(8, idB200, ModeOn, 0), test.held, test.n, Rules{})
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, g := range a.GPUs {
				got = append(got, g.Index)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || a.Mode != ModeOn || a.SwitchFirst {
				t.Errorf("mode %s, switch %v, cards (-want +got):\n%s", a.Mode, a.SwitchFirst, diff)
			}
		})
	}
}

func TestAllocateSaysWhenTheModeMustChange(t *testing.T) {
	rules := Rules{SwitchModes: true}
	eight, err := Allocate(host(8, idH200, ModeOn, 4), nil, 8, rules)
	if err != nil || eight.Mode != ModePPCIe || !eight.SwitchFirst || len(eight.GPUs) != 8 || len(eight.Switches) != 4 {
		t.Errorf("eight of a CC host: %+v, %v", eight, err)
	}
	one, err := Allocate(host(8, idH200, ModePPCIe, 4), nil, 1, rules)
	if err != nil || one.Mode != ModeOn || !one.SwitchFirst || len(one.GPUs) != 1 || len(one.Switches) != 0 {
		t.Errorf("one of a protected-PCIe host: %+v, %v", one, err)
	}
	stay, err := Allocate(host(8, idH200, ModePPCIe, 4), nil, 8, rules)
	if err != nil || stay.SwitchFirst || len(stay.Switches) != 4 {
		t.Errorf("eight of a protected-PCIe host: %+v, %v", stay, err)
	}
}

func TestAllocateNothingIsAlwaysPossible(t *testing.T) {
	if a, err := Allocate(host(0, 0, ModeOff, 0), nil, 0, Rules{}); err != nil || len(a.GPUs) != 0 || a.SwitchFirst {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestAllocateRefusesCountsThatNoEnclaveCanHave(t *testing.T) {
	for _, n := range []int{-1, 2, 3, 7} {
		if _, err := Allocate(host(8, idH200, ModeOn, 4), nil, n, Rules{SwitchModes: true}); !errors.Is(err, ErrCount) {
			t.Errorf("%d GPUs: %v, want ErrCount", n, err)
		}
	}
}

func TestNotEnoughSaysHowManyAreFreeAndWhyTheOthersAreNot(t *testing.T) {
	s := with(host(8, idB200, ModeOn, 0), 6, func(g *GPU) { g.MIG = true })
	_, err := Allocate(s, holding(0, 1, 2, 3), 4, Rules{})
	var shortage *NotEnoughError
	if !errors.Is(err, ErrNotEnough) || !errors.As(err, &shortage) {
		t.Fatalf("error %v, want a *NotEnoughError", err)
	}
	if shortage.Want != 4 || shortage.Free != 3 || len(shortage.Withheld) != 5 || !cmp.Equal(shortage.Offers, []int{1, 2}) {
		t.Errorf("shortage %+v", shortage)
	}
	for _, part := range []string{"4 wanted, 3 free", "held by box-r1-1", "turn MIG off", string(at(6))} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("text %q lacks %q", err, part)
		}
	}
}

func TestQuarantinedCardsAreListedAndNotOffered(t *testing.T) {
	s := host(2, idH100, ModeOn, 0)
	q := Quarantine(s, map[BDF]string{at(1): "unknown owner"})
	cards := Assess(q, nil, Rules{})
	if !cards[0].Offered || cards[1].Offered || cards[1].Why[0] != (Reason{ReasonQuarantine, "unknown owner"}) {
		t.Errorf("cards %+v", cards)
	}
	if len(s.GPUs[1].Reasons) != 0 {
		t.Error("quarantine changed its argument")
	}
	board := Quarantine(host(8, idH200, ModePPCIe, 4), map[BDF]string{"0000:c1:00.0": "unknown owner"})
	if got := Offers(board, nil, Rules{}); len(got) != 0 {
		t.Errorf("a quarantined NVSwitch leaves offers %v", got)
	}
}
