package fake

import (
	"crypto/sha256"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// cards builds the snapshot of the present state. The caller holds the lock.
func (i *Inventory) cards() gpu.Snapshot {
	special := map[int]Card{}
	for _, c := range i.host.Cards {
		special[c.Index] = c
	}
	var s gpu.Snapshot
	for n := range i.host.GPUs {
		c := special[n]
		if c.Missing {
			continue
		}
		g := i.card(n, c)
		g.Index = len(s.GPUs)
		s.GPUs = append(s.GPUs, g)
	}
	for n := range i.host.Switches {
		s.Switches = append(s.Switches, i.nvswitch(n))
	}
	return s
}

// card builds GPU n with what is special about it.
func (i *Inventory) card(n int, c Card) gpu.GPU {
	kind := chips[i.host.Model]
	name, generation := gpu.Model(kind.deviceID)
	g := gpu.GPU{
		UUID: uuid(i.host.Name, n), BDF: gpu.BDF(fmt.Sprintf("0000:%02x:00.0", buses[n])),
		Model: name, Generation: generation, DeviceID: kind.deviceID, MemoryMiB: kind.memoryMiB,
		Driver: gpu.DriverVFIO, IOMMUGroup: 40 + n, NUMANode: n / 4, Mode: i.mode, MIG: c.MIG,
		ECC: gpu.ECC{Enabled: true, CountersKnown: true}, Healthy: true,
	}
	if i.stuck != "" && n%2 == 1 {
		g.Mode = i.stuck
	}
	if c.Mode != "" {
		g.Mode = c.Mode
	}
	if c.Driver != "" {
		g.Driver = c.Driver
	}
	if c.Sick != "" {
		g.Healthy = false
		g.Reasons = append(g.Reasons, gpu.Reason{Code: gpu.ReasonSick, Text: c.Sick})
	}
	if i.switching {
		g.Healthy = false
		g.Reasons = append(g.Reasons, gpu.Reason{Code: gpu.ReasonSwitching, Text: "a change of mode is under way"})
	}
	return g
}

// nvswitch builds NVSwitch n.
func (i *Inventory) nvswitch(n int) gpu.Switch {
	w := gpu.Switch{
		BDF: gpu.BDF(fmt.Sprintf("0000:%02x:00.0", 0x05+n)), DeviceID: switchDevice,
		Driver: gpu.DriverVFIO, IOMMUGroup: 30 + n, NUMANode: 0, Mode: gpu.ModeOff, Healthy: !i.switching,
	}
	if i.mode == gpu.ModePPCIe {
		w.Mode = gpu.ModePPCIe
	}
	return w
}

// uuid makes an identity that is the same at every start.
func uuid(host string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "casemate fake gpu\x00%s\x00%d", host, n))
	return fmt.Sprintf("GPU-%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
