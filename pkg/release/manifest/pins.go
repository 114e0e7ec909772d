package manifest

import (
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// PinSNP pins an SEV-SNP policy on the measurements that are expected of a shape;
// an empty shape means any of them.
func (m *Manifest) PinSNP(p *sevsnp.Policy, shape string) error {
	entries := m.For(attest.FormatSEVSNP, shape)
	if len(entries) == 0 {
		return m.nothing(attest.FormatSEVSNP, shape)
	}
	var values [][]byte
	for _, e := range entries {
		values = append(values, e.Measurement[:])
	}
	p.Measurement = sevsnp.OneOf(values...)
	return nil
}

// PinTDX pins a TDX policy on the registers that are expected of a shape. The shape
// must be named: registers of two shapes may not be mixed. RTMR0 is pinned only if
// the manifest knows it.
func (m *Manifest) PinTDX(p *tdx.Policy, shape string) error {
	entries := m.For(attest.FormatTDX, shape)
	if shape == "" || len(entries) != 1 {
		return m.nothing(attest.FormatTDX, shape)
	}
	e := entries[0]
	pin := func(d *measure.Digest) tdx.Pin { return tdx.OneOf(d[:]) }
	p.MRTD, p.RTMR1, p.RTMR2 = pin(e.MRTD), pin(e.RTMR1), pin(e.RTMR2)
	if e.RTMR0 != nil {
		p.RTMR0 = pin(e.RTMR0)
	}
	return nil
}

func (m *Manifest) nothing(platform attest.Format, shape string) error {
	return fmt.Errorf("the manifest of %s expects nothing of the shape %q on %s: measure it and sign the release again", m.Tag, shape, platform)
}
