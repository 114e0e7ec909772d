package nvidia

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func opaque(t *testing.T, fields ...Field) Opaque {
	t.Helper()
	var raw []byte
	for _, f := range fields {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(f.ID))
		raw = binary.LittleEndian.AppendUint16(raw, uint16(len(f.Value)))
		raw = append(raw, f.Value...)
	}
	o, err := ParseOpaque(raw)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOpaqueLengths(t *testing.T) {
	many := func(n int) (raw []byte) {
		for i := range n {
			raw = binary.LittleEndian.AppendUint16(raw, uint16(1000+i))
			raw = append(raw, 0, 0)
		}
		return raw
	}
	for _, tc := range []struct {
		rule string
		raw  []byte
		ok   bool
	}{
		{"no field", nil, true},
		{"an empty value", []byte{3, 0, 0, 0}, true},
		{"unknown ids are kept", []byte{0xff, 0xff, 1, 0, 7}, true},
		{"a type without a length", []byte{3, 0}, false},
		{"half a type", []byte{3}, false},
		{"a value that is too short", []byte{3, 0, 2, 0, 'a'}, false},
		{"a length beyond everything", []byte{3, 0, 0xff, 0xff}, false},
		{"an id twice", []byte{3, 0, 0, 0, 3, 0, 0, 0}, false},
		{"as many fields as are allowed", many(maxOpaqueFields), true},
		{"one field more", many(maxOpaqueFields + 1), false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if _, err := ParseOpaque(tc.raw); (err == nil) != tc.ok {
				t.Errorf("%v, want accepted %t", err, tc.ok)
			}
		})
	}
}

func TestVBIOSVersions(t *testing.T) {
	for _, tc := range []struct {
		rule string
		arch Architecture
		raw  []byte
		want string
	}{
		{"a GPU's five bytes in two words", Hopper, []byte{0, 0x9f, 0, 0x96, 1, 0, 0, 0}, "96.00.9F.00.01"},
		{"upper case, as NVIDIA writes it", Blackwell, []byte{0, 0xd9, 0, 0x97, 0x35, 0, 0, 0}, "97.00.D9.00.35"},
		{"a switch's text", LS10, []byte("96.10.55.00.01"), "96.10.55.00.01"},
		{"a switch's text with NULs after it", LS10, []byte("96.10.55.00.01\x00\x00"), "96.10.55.00.01"},
		{"six bytes, of which one would be lost", Hopper, []byte{0, 0x9f, 0, 0x96, 1, 1, 0, 0}, ""},
		{"seven bytes", Hopper, []byte{0, 0x9f, 0, 0x96, 1, 0, 0}, ""},
		{"text of a GPU", Hopper, []byte("96.00.9F.00.01"), ""},
		{"a switch's text with a slash", LS10, []byte("../96"), ""},
		{"a switch's text with a NUL inside", LS10, []byte("96\x0010"), ""},
		{"nothing", LS10, nil, ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got, err := opaque(t, Field{FieldVBIOSVersion, tc.raw}).VBIOSVersion(tc.arch)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestModes(t *testing.T) {
	on, off := Field{FieldProtectedPCIe, []byte{0xaa}}, Field{FieldProtectedPCIe, []byte{0x55}}
	flag := func(b ...byte) Field { return Field{FieldFeatureFlag, b} }
	for _, tc := range []struct {
		rule   string
		fields []Field
		want   Mode
	}{
		{"neither field", nil, ModeUnstated},
		{"only the PCIe field, on", []Field{on}, ModeProtectedPCIe},
		{"only the PCIe field, off", []Field{off}, ModeSingle},
		{"single", []Field{flag(0, 0)}, ModeSingle},
		{"multi", []Field{flag(1, 0)}, ModeMulti},
		{"multi with PCIe off", []Field{flag(1, 0), off}, ModeMulti},
		{"protected, twice said", []Field{flag(2, 0), on}, ModeProtectedPCIe},
		{"protected, and PCIe off", []Field{flag(2, 0), off}, ""},
		{"multi, and PCIe on", []Field{flag(1, 0), on}, ""},
		{"an unknown flag", []Field{flag(3, 0)}, ""},
		{"a flag in the high byte", []Field{flag(0, 1)}, ""},
		{"a flag of one byte", []Field{flag(1)}, ""},
		{"PCIe neither on nor off", []Field{{FieldProtectedPCIe, []byte{1}}}, ""},
		{"PCIe in two bytes", []Field{{FieldProtectedPCIe, []byte{0xaa, 0xaa}}}, ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got, err := opaque(t, tc.fields...).Mode()
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestLinks(t *testing.T) {
	a, b := PDI{1, 2, 3, 4, 5, 6, 7, 8}, PDI{9, 9, 9, 9, 9, 9, 9, 1}
	backwards := []byte{8, 7, 6, 5, 4, 3, 2, 1}
	t.Run("a GPU's links have their bytes reversed, and dead ones are zero", func(t *testing.T) {
		o := opaque(t, Field{FieldSwitchPDI, bytes.Join([][]byte{backwards, make([]byte, 8), backwards}, nil)})
		got, err := o.LinkedSwitches()
		if err != nil || len(got) != 1 || got[0] != a {
			t.Errorf("%v, %v; want %v alone", got, err, a)
		}
	})
	t.Run("a switch lists eight GPUs before its port map", func(t *testing.T) {
		raw := append(bytes.Repeat(a[:], 7), b[:]...)
		o := opaque(t, Field{FieldSwitchGPUs, append(raw, bytes.Repeat([]byte{0xff}, 64)...)})
		got, err := o.LinkedGPUs()
		if err != nil || len(got) != 2 || got[0] != a || got[1] != b {
			t.Errorf("%v, %v; want %v and %v", got, err, a, b)
		}
	})
	t.Run("half a link", func(t *testing.T) {
		if _, err := opaque(t, Field{FieldSwitchPDI, backwards[:4]}).LinkedSwitches(); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("seven GPUs", func(t *testing.T) {
		if _, err := opaque(t, Field{FieldSwitchGPUs, make([]byte, 56)}).LinkedGPUs(); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("a switch that is two", func(t *testing.T) {
		if _, err := opaque(t, Field{FieldSwitchPDI, make([]byte, 16)}).OwnPDI(); err == nil {
			t.Error("accepted")
		}
	})
}
