package nvidia

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// FieldID names a field of a report's opaque data. The numbers are those of
// NVIDIA's local verifier (nvtrust, spdm_msrt_resp_msg.py) and attestation SDK.
type FieldID uint16

// The fields that are read here; others are kept and not looked at.
const (
	FieldDriverVersion FieldID = 3
	FieldVBIOSVersion  FieldID = 6
	FieldNVDEC0        FieldID = 11
	FieldChipSKU       FieldID = 15
	FieldProject       FieldID = 17
	FieldProjectSKU    FieldID = 18
	FieldFWID          FieldID = 20
	FieldProtectedPCIe FieldID = 21
	FieldSwitchPDI     FieldID = 22
	FieldSwitchGPUs    FieldID = 26
	FieldOpaqueVersion FieldID = 34
	FieldChipInfo      FieldID = 35
	FieldFeatureFlag   FieldID = 36
)

// Values of the fields that hold a hardware switch's state.
const (
	stateOn  = 0xaa
	stateOff = 0x55
)

const maxOpaqueFields = 64

// Field is one entry of the opaque data.
type Field struct {
	ID    FieldID
	Value []byte
}

// Opaque is the opaque data of a report: fields of type, length and value.
type Opaque struct{ fields []Field }

// ParseOpaque parses fields that fill raw to its last byte; each id at most once.
func ParseOpaque(raw []byte) (Opaque, error) {
	r := reader{rest: raw}
	out := Opaque{fields: make([]Field, 0, 24)}
	for len(r.rest) > 0 {
		f := Field{ID: FieldID(r.u16("type"))}
		f.Value = r.take(r.u16("length"), "value")
		if r.err != nil {
			return Opaque{}, fmt.Errorf("field %d: %w", f.ID, r.err)
		}
		if _, twice := out.Get(f.ID); twice {
			return Opaque{}, fmt.Errorf("field %d occurs twice", f.ID)
		}
		if len(out.fields) == maxOpaqueFields {
			return Opaque{}, fmt.Errorf("more than %d fields", maxOpaqueFields)
		}
		out.fields = append(out.fields, f)
	}
	return out, nil
}

// Get returns a field's value.
func (o Opaque) Get(id FieldID) ([]byte, bool) {
	for _, f := range o.fields {
		if f.ID == id {
			return f.Value, true
		}
	}
	return nil, false
}

// text returns a field of printable ASCII that may be padded with NULs.
func (o Opaque) text(id FieldID, name string) (string, error) {
	raw, ok := o.Get(id)
	if !ok {
		return "", fmt.Errorf("the report has no %s (field %d)", name, id)
	}
	s := strings.TrimRight(string(raw), "\x00")
	if s == "" || len(s) > 32 || strings.Trim(s, idAlphabet) != "" {
		return "", fmt.Errorf("%s (field %d) is %.40q: not a version or a name", name, id, s)
	}
	return s, nil
}

// idAlphabet is what versions and ids are made of; nothing else may reach a RIM id.
const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789."

// DriverVersion returns the GPU driver's version, such as "550.90.07".
func (o Opaque) DriverVersion() (string, error) {
	return o.text(FieldDriverVersion, "driver version")
}

// VBIOSVersion returns the version of a GPU's VBIOS or a switch's BIOS, such as
// "96.00.9F.00.01". GPUs have it as two little-endian words, of which the second
// holds the last part; switches as text.
func (o Opaque) VBIOSVersion(arch Architecture) (string, error) {
	if arch.IsSwitch() {
		return o.text(FieldVBIOSVersion, "BIOS version")
	}
	b, ok := o.Get(FieldVBIOSVersion)
	if !ok {
		return "", fmt.Errorf("the report has no VBIOS version (field %d)", FieldVBIOSVersion)
	}
	if len(b) != 8 || b[5]|b[6]|b[7] != 0 {
		return "", fmt.Errorf("VBIOS version (field %d) is %x: not five bytes in eight", FieldVBIOSVersion, b)
	}
	return fmt.Sprintf("%02X.%02X.%02X.%02X.%02X", b[3], b[2], b[1], b[0], b[4]), nil
}

// state returns the value of an on/off field; stated is false if it is not there.
func (o Opaque) state(id FieldID) (on, stated bool, err error) {
	b, ok := o.Get(id)
	if !ok {
		return false, false, nil
	}
	if len(b) != 1 || b[0] != stateOn && b[0] != stateOff {
		return false, false, fmt.Errorf("field %d is %x, neither aa (on) nor 55 (off)", id, b)
	}
	return b[0] == stateOn, true, nil
}

// Mode returns how the GPU is shared, and whether its PCIe is protected. Where the
// report states it in both fields, 21 and 36, they have to agree.
func (o Opaque) Mode() (Mode, error) {
	on, stated, err := o.state(FieldProtectedPCIe)
	if err != nil {
		return "", fmt.Errorf("protected PCIe: %w", err)
	}
	flag, ok := o.Get(FieldFeatureFlag)
	if !ok {
		switch {
		case stated && on:
			return ModeProtectedPCIe, nil
		case stated:
			return ModeSingle, nil
		}
		return ModeUnstated, nil
	}
	mode, err := parseFeatureFlag(flag)
	if err != nil {
		return "", err
	}
	if stated && on != (mode == ModeProtectedPCIe) {
		return "", fmt.Errorf("field %d says mode %s, field %d says protected PCIe is %t", FieldFeatureFlag, mode, FieldProtectedPCIe, on)
	}
	return mode, nil
}

func parseFeatureFlag(flag []byte) (Mode, error) {
	if len(flag) != 2 {
		return "", fmt.Errorf("feature flag (field %d) has %d bytes, want 2", FieldFeatureFlag, len(flag))
	}
	switch binary.LittleEndian.Uint16(flag) {
	case 0:
		return ModeSingle, nil
	case 1:
		return ModeMulti, nil
	case 2:
		return ModeProtectedPCIe, nil
	}
	return "", fmt.Errorf("feature flag (field %d) is %x, which is no known mode", FieldFeatureFlag, flag)
}

// FWID returns the firmware digest that the report names, which the leaf
// certificate has to name as well; nil if the report names none.
func (o Opaque) FWID() ([]byte, error) {
	raw, ok := o.Get(FieldFWID)
	if !ok {
		return nil, nil
	}
	if len(raw) != measurementSize || bytes.Equal(raw, make([]byte, measurementSize)) {
		return nil, errors.New("the FWID (field 20) is not a SHA-384")
	}
	return raw, nil
}
