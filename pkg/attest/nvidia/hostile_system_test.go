package nvidia_test

import (
	"crypto/x509"
	"fmt"
	"slices"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

func protected(l *lab) *lab { return l.protected() }

// without leaves out a device and doesn't count it either.
func without(i int) func(*lab) {
	return func(l *lab) {
		l.devices = slices.Delete(l.devices, i, i+1)
		l.policy.GPUCount, l.policy.SwitchCount = nil, nil
	}
}

func TestHostileHosts(t *testing.T) {
	run(t, protected, []hostile{
		{"a switch is missing", without(3), "topology_switches"},
		{"all switches are missing", func(l *lab) { without(3)(l); without(2)(l) }, "topology_switches topology_gpus"},
		{"all switches are missing and the policy says nothing", func(l *lab) {
			without(3)(l)
			without(2)(l)
			l.policy.ProtectedPCIe, l.policy.PermitUnpinned = "", true
		}, "topology_switches topology_gpus"},
		{"a GPU is missing", without(1), "topology_gpus"},
		{"the GPUs are missing", func(l *lab) { without(0)(l); without(0)(l) }, "topology_switches"},
		{"a switch more than the GPUs name", func(l *lab) {
			for i := range 2 {
				l.devices[i].report.LinkedSwitches = []nvidia.PDI{pdi(0x51)}
			}
		}, "topology_switches"},
		{"a switch that was not attested", func(l *lab) {
			l.devices[0].report.LinkedSwitches = []nvidia.PDI{pdi(0x51), pdi(0x52), pdi(0x53)}
		}, "topology_switches"},
		{"a GPU of another host behind the switch", func(l *lab) {
			l.devices[2].report.LinkedGPUs = []nvidia.PDI{pdi(1), pdi(2), pdi(3)}
		}, "topology_gpus"},
		{"a GPU that names no switch", func(l *lab) { l.devices[0].report.EditFields = dropField(nvidia.FieldSwitchPDI) }, "topology_switches"},
		{"a switch that names no GPU", func(l *lab) { l.devices[2].report.EditFields = dropField(nvidia.FieldSwitchGPUs) }, "topology_gpus"},
		{"a switch that calls itself another", func(l *lab) {
			own := pdi(0x52)
			l.devices[2].report.EditFields = replaceField(nvidia.FieldSwitchPDI, own[:])
		}, "switch0_device_pdi"},
		{"a GPU twice", func(l *lab) {
			l.editEvidence = func(e *nvidia.Evidence) { e.Devices[1] = e.Devices[0] }
		}, "devices_distinct topology_gpus"},
		{"two GPUs at one place on the fabric", func(l *lab) {
			place := l.devices[0].device.PDI
			l.devices[1].device.EditDevice = func(c *x509.Certificate) { c.Subject.SerialNumber = fmt.Sprintf("42%X", place[:]) }
		}, "devices_distinct topology_gpus"},
		{"a switch twice", func(l *lab) {
			l.editEvidence = func(e *nvidia.Evidence) { e.Devices[3] = e.Devices[2] }
		}, "devices_distinct topology_switches"},
		{"a GPU whose PCIe is not protected", func(l *lab) {
			l.devices[1].report.Mode = nvidia.ModeSingle
		}, "gpu1_mode architecture_agreement"},
		{"reports over two nonces, and none to compare with", func(l *lab) {
			l.devices[2].report.Nonce = measured(8)[:32]
			l.nonce, l.policy.PermitUnpinned = nil, true
		}, "nonce_agreement"},
		{"a Blackwell among Hoppers", func(l *lab) {
			b := newLab(l.t).blackwell()
			l.rims[ccDriver] = b.rims[ccDriver]
			l.devices[1].device.Arch = nvidia.Blackwell
		}, "gpu1_vbios_rim_product architecture_agreement"},
	})
}

func TestHostileBlackwell(t *testing.T) {
	run(t, func(l *lab) *lab { return l.blackwell() }, []hostile{
		{"a part in debug state", func(l *lab) { l.devices[0].device.Flags = []byte{0x90, 0, 0, 1} }, "gpu0_debug_off"},
		{"a part that is not secure", func(l *lab) { l.devices[0].device.Flags = []byte{0xc0, 0, 0, 1} }, "gpu0_debug_off"},
		{"a part in recovery", func(l *lab) { l.devices[0].device.Flags = []byte{0x20, 0, 0, 0} }, "gpu0_debug_off"},
		{"Hopper's driver RIM, though well signed", func(l *lab) { l.rims[ccDriver].Product = "GH100" }, "gpu0_driver_rim_product gpu1_driver_rim_product"},
		{"one GPU in another mode", func(l *lab) { l.devices[1].report.Mode = nvidia.ModeSingle }, "gpu1_mode architecture_agreement"},
		{"a feature flag that nobody knows", func(l *lab) {
			l.devices[1].report.EditFields = replaceField(nvidia.FieldFeatureFlag, []byte{3, 0})
		}, "gpu1_mode architecture_agreement"},
	})
}
