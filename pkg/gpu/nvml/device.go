//go:build cgo && linux

package nvml

import (
	"bytes"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// describe reads one card.
func (l *Library) describe(h nvml.Device) gpu.NVMLDevice {
	var d gpu.NVMLDevice
	var p problems
	if info, ret := h.GetPciInfo(); p.ok("PCI address", ret) {
		d.BusID = busID(info)
	}
	if uuid, ret := h.GetUUID(); p.ok("UUID", ret) {
		d.UUID = uuid
	}
	if name, ret := h.GetName(); p.ok("name", ret) {
		d.Name = name
	}
	if memory, ret := h.GetMemoryInfo(); p.ok("memory", ret) {
		d.MemoryMiB = memory.Total >> 20
	}
	if l.has(symMIG) {
		current, pending, ret := h.GetMigMode()
		if ret != nvml.ERROR_NOT_SUPPORTED && p.ok("MIG mode", ret) {
			d.MIG = current == nvml.DEVICE_MIG_ENABLE || pending == nvml.DEVICE_MIG_ENABLE
		}
	}
	d.ECC = l.ecc(h)
	d.Problem = p.text()
	return d
}

// ecc reads what the card says of its memory; counters that can't be read are
// no problem of the card.
func (l *Library) ecc(h nvml.Device) gpu.ECC {
	var e gpu.ECC
	if l.has(symECCMode) {
		current, _, ret := h.GetEccMode()
		e.Enabled = ret == nvml.SUCCESS && current == nvml.FEATURE_ENABLED
	}
	if e.Enabled && l.has(symECCErrors) {
		corrected, first := h.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.VOLATILE_ECC)
		uncorrected, second := h.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC)
		if first == nvml.SUCCESS && second == nvml.SUCCESS {
			e.Corrected, e.Uncorrected, e.CountersKnown = corrected, uncorrected, true
		}
	}
	if l.has(symRemapped) {
		if _, _, pending, failure, ret := h.GetRemappedRows(); ret == nvml.SUCCESS {
			e.RemapPending, e.RemapFailed = pending, failure
		}
	}
	return e
}

// busID is the C string in NVML's PCI record.
func busID(info nvml.PciInfo) string {
	var text []byte
	for _, c := range info.BusId {
		text = append(text, byte(c))
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	return string(text)
}
