package nvidia

import "fmt"

const (
	pdiSize        = 8
	switchGPULinks = 8 // PDIs at the start of FieldSwitchGPUs; the port map follows
)

// PDI is the identifier of a GPU or switch on the NVLink fabric, in the byte
// order of the device's certificate.
type PDI [pdiSize]byte

// String is lower-case hex.
func (p PDI) String() string { return fmt.Sprintf("%x", p[:]) }

// LinkedSwitches returns the switches that a GPU's links lead to, each once, in
// the order of the links. GPUs write them with their bytes reversed.
func (o Opaque) LinkedSwitches() ([]PDI, error) {
	raw, ok := o.Get(FieldSwitchPDI)
	if !ok {
		return nil, nil
	}
	if len(raw)%pdiSize != 0 || len(raw) > 64*pdiSize {
		return nil, fmt.Errorf("switch PDIs (field %d) fill %d bytes, not a whole number of %d", FieldSwitchPDI, len(raw), pdiSize)
	}
	return distinctPDIs(raw, true), nil
}

// OwnPDI returns the identifier a switch reports of itself.
func (o Opaque) OwnPDI() (PDI, error) {
	raw, ok := o.Get(FieldSwitchPDI)
	if !ok || len(raw) != pdiSize {
		return PDI{}, fmt.Errorf("the report does not name the switch's own PDI (field %d)", FieldSwitchPDI)
	}
	return PDI(raw), nil
}

// LinkedGPUs returns the GPUs that a switch's ports lead to, each once.
func (o Opaque) LinkedGPUs() ([]PDI, error) {
	raw, ok := o.Get(FieldSwitchGPUs)
	if !ok {
		return nil, fmt.Errorf("the report does not name the GPUs at the switch (field %d)", FieldSwitchGPUs)
	}
	if len(raw) < switchGPULinks*pdiSize {
		return nil, fmt.Errorf("the GPUs at the switch (field %d) fill %d bytes, want at least %d", FieldSwitchGPUs, len(raw), switchGPULinks*pdiSize)
	}
	return distinctPDIs(raw[:switchGPULinks*pdiSize], false), nil
}

// distinctPDIs leaves out repetitions and links that lead nowhere (all zeros).
func distinctPDIs(raw []byte, reversed bool) []PDI {
	var out []PDI
next:
	for ; len(raw) >= pdiSize; raw = raw[pdiSize:] {
		p := PDI(raw[:pdiSize])
		if reversed {
			for i := range pdiSize / 2 {
				p[i], p[pdiSize-1-i] = p[pdiSize-1-i], p[i]
			}
		}
		if p == (PDI{}) {
			continue
		}
		for _, seen := range out {
			if seen == p {
				continue next
			}
		}
		out = append(out, p)
	}
	return out
}
