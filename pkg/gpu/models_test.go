package gpu

import "testing"

func TestModel(t *testing.T) {
	for id, want := range map[uint16]struct {
		name       string
		generation Generation
	}{
		0x2335: {"NVIDIA H200", Hopper},
		0x2901: {"NVIDIA B200", Blackwell},
		0x1234: {"NVIDIA 10de:1234", OtherChips},
		0x00ff: {"NVIDIA 10de:00ff", OtherChips},
	} {
		if name, generation := Model(id); name != want.name || generation != want.generation {
			t.Errorf("%04x is %q, %s; want %+v", id, name, generation, want)
		}
	}
}

func TestSickXid(t *testing.T) {
	for xid, want := range map[uint64]bool{13: false, 31: false, 43: false, 45: false, 68: false, 109: false, 48: true, 79: true, 95: true} {
		if SickXid(xid) != want {
			t.Errorf("Xid %d makes a card sick: %v, want %v", xid, !want, want)
		}
	}
}
