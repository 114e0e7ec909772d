package nvidiatest

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// ReportSpec says what is in a report. Zero fields are filled with what a device
// of that architecture says.
type ReportSpec struct {
	// Nonce is the caller's, 32 bytes.
	Nonce []byte
	// Driver and VBIOS are versions, such as 550.90.07 and 96.00.9F.00.01.
	Driver, VBIOS string
	// Project, ProjectSKU and ChipSKU make the VBIOS' RIM id.
	Project, ProjectSKU, ChipSKU string
	// Mode is the feature flag; for unstated it is left out.
	Mode nvidia.Mode
	// NVDECOff says that the engine of measurement 35 is switched off.
	NVDECOff bool
	// Measurements are by index, counted from 0; the others up to 63 are zeros.
	Measurements map[int][]byte
	// LinkedSwitches are named by GPUs, LinkedGPUs by switches.
	LinkedSwitches, LinkedGPUs []nvidia.PDI
	// EditFields changes the opaque fields before they are written.
	EditFields func([]nvidia.Field) []nvidia.Field
	// EditSigned changes request and response before they are signed, EditReport
	// the whole thereafter.
	EditSigned, EditReport func([]byte) []byte
}

// Measurements of a report: GPUs have 64, switches 31.
const (
	gpuMeasurements    = 64
	switchMeasurements = 31
)

func (s ReportSpec) withDefaults(arch nvidia.Architecture) ReportSpec {
	def := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	if s.Nonce == nil {
		s.Nonce = make([]byte, 32)
	}
	def(&s.Driver, "550.90.07")
	if arch.IsSwitch() {
		def(&s.VBIOS, "96.10.55.00.01")
	}
	def(&s.VBIOS, "96.00.9F.00.01")
	def(&s.Project, "1010")
	def(&s.ProjectSKU, "0200")
	def(&s.ChipSKU, "882")
	if s.Mode == "" {
		s.Mode = nvidia.ModeSingle
	}
	return s
}

// Report makes a signed report.
func (d *Device) Report(spec ReportSpec) ([]byte, error) {
	spec = spec.withDefaults(d.Spec.Arch)
	fields, err := d.fields(spec)
	if err != nil {
		return nil, err
	}
	if spec.EditFields != nil {
		fields = spec.EditFields(fields)
	}
	signed := d.encode(spec, fields)
	if spec.EditSigned != nil {
		signed = spec.EditSigned(signed)
	}
	sum := sha512.Sum384(signed)
	signature, err := signRaw(d.Key, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign report: %w", err)
	}
	report := append(signed, signature...)
	if spec.EditReport != nil {
		report = spec.EditReport(report)
	}
	return report, nil
}

// encode writes the request and the response without its signature.
func (d *Device) encode(spec ReportSpec, fields []nvidia.Field) []byte {
	out := append([]byte{0x11, 0xe0, 1, 0xff}, spec.Nonce...)
	out = append(out, 0)

	n := gpuMeasurements
	if d.Spec.Arch.IsSwitch() {
		n = switchMeasurements
	}
	var record []byte
	for i := range n {
		value := spec.Measurements[i]
		if value == nil {
			value = make([]byte, 48)
		}
		record = append(record, byte(i+1), 1, byte(3+len(value)), 0, 1, byte(len(value)), 0)
		record = append(record, value...)
	}
	out = append(out, 0x11, 0x60, 0, 0, byte(n), byte(len(record)), byte(len(record)>>8), byte(len(record)>>16))
	out = append(out, record...)
	out = append(out, d.Spec.FWID[:32]...) // the responder's nonce: anything

	var opaque []byte
	for _, f := range fields {
		opaque = binary.LittleEndian.AppendUint16(opaque, uint16(f.ID))
		opaque = binary.LittleEndian.AppendUint16(opaque, uint16(len(f.Value)))
		opaque = append(opaque, f.Value...)
	}
	out = binary.LittleEndian.AppendUint16(out, uint16(len(opaque)))
	return append(out, opaque...)
}

func (d *Device) fields(spec ReportSpec) ([]nvidia.Field, error) {
	if d.Spec.Arch.IsSwitch() {
		gpus := pdis(spec.LinkedGPUs, false)
		return []nvidia.Field{
			{ID: nvidia.FieldVBIOSVersion, Value: []byte(spec.VBIOS)},
			{ID: nvidia.FieldSwitchPDI, Value: d.Spec.PDI[:]},
			{ID: nvidia.FieldSwitchGPUs, Value: append(gpus, make([]byte, 128-len(gpus))...)},
		}, nil
	}
	vbios, err := encodeVBIOS(spec.VBIOS)
	if err != nil {
		return nil, err
	}
	nvdec := byte(0xaa)
	if spec.NVDECOff {
		nvdec = 0x55
	}
	fields := []nvidia.Field{
		{ID: nvidia.FieldVBIOSVersion, Value: vbios},
		{ID: nvidia.FieldChipSKU, Value: []byte(spec.ChipSKU + "\x00")},
		{ID: nvidia.FieldProject, Value: []byte(spec.Project + "\x00")},
		{ID: nvidia.FieldProjectSKU, Value: []byte(spec.ProjectSKU + "\x00")},
		{ID: nvidia.FieldDriverVersion, Value: []byte(spec.Driver + "\x00")},
		{ID: nvidia.FieldNVDEC0, Value: []byte{nvdec}},
		{ID: nvidia.FieldFWID, Value: d.Spec.FWID},
	}
	if d.Spec.Arch == nvidia.Blackwell {
		fields = append(fields, nvidia.Field{ID: nvidia.FieldChipInfo, Value: []byte("GB100\x00")})
	}
	if spec.LinkedSwitches != nil {
		fields = append(fields, nvidia.Field{ID: nvidia.FieldSwitchPDI, Value: pdis(spec.LinkedSwitches, true)})
	}
	return append(fields, modeFields(spec.Mode)...), nil
}

func modeFields(mode nvidia.Mode) []nvidia.Field {
	flag := map[nvidia.Mode]byte{nvidia.ModeSingle: 0, nvidia.ModeMulti: 1, nvidia.ModeProtectedPCIe: 2}
	value, stated := flag[mode]
	if !stated {
		return nil
	}
	pcie := byte(0x55)
	if mode == nvidia.ModeProtectedPCIe {
		pcie = 0xaa
	}
	return []nvidia.Field{
		{ID: nvidia.FieldProtectedPCIe, Value: []byte{pcie}},
		{ID: nvidia.FieldFeatureFlag, Value: []byte{value, 0}},
	}
}

// pdis writes identifiers; GPUs reverse their bytes.
func pdis(list []nvidia.PDI, reversed bool) []byte {
	var out []byte
	for _, p := range list {
		b := slices.Clone(p[:])
		if reversed {
			slices.Reverse(b)
		}
		out = append(out, b...)
	}
	return out
}

// encodeVBIOS writes 96.00.9F.00.01 as a GPU does: 00 9f 00 96 01 00 00 00.
func encodeVBIOS(version string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(version, ".", ""))
	if err != nil || len(b) != 5 {
		return nil, fmt.Errorf("VBIOS version %q is not five bytes", version)
	}
	return []byte{b[3], b[2], b[1], b[0], b[4], 0, 0, 0}, nil
}

// signRaw signs a digest, r||s.
func signRaw(key *ecdsa.PrivateKey, sum []byte) ([]byte, error) {
	der, err := key.Sign(nil, sum, hashSHA384)
	if err != nil {
		return nil, err
	}
	return rawSignature(der)
}
