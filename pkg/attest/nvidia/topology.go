package nvidia

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkAgreement checks the devices of one enclave against each other.
func (r *run) checkAgreement() {
	if len(r.devices) < 2 {
		return
	}
	r.verdict.Report("nonce_agreement", r.sameNonce(), "all reports are over the same nonce")
	different, err := r.distinct()
	r.verdict.Report("devices_distinct", err, "%d different devices answer %d times", different, len(r.devices))
	r.verdict.Report("architecture_agreement", r.sameKind(), "all GPUs are of one architecture and in one mode")
}

func (r *run) sameNonce() error {
	first := r.devices[0]
	for _, d := range r.devices[1:] {
		if !bytes.Equal(d.report.Nonce, first.report.Nonce) {
			return fmt.Errorf("%s is over another nonce than %s", d.label(), first.label())
		}
	}
	return nil
}

func (d *device) label() string { return strings.TrimSuffix(d.name, "_") }

// distinct counts devices, and refuses one that answers for two: by device key, by
// serial number, by place on the fabric, by leaf key.
func (r *run) distinct() (int, error) {
	different := 0
	for i, d := range r.devices {
		first := true
		for _, e := range r.devices[:i] {
			if !sameDevice(d, e) {
				continue
			}
			if !r.mayRepeat() || !bytes.Equal(d.Report, e.Report) {
				return 0, fmt.Errorf("%s and %s are the same device, serial %s", e.label(), d.label(), d.id.serial)
			}
			first = false
		}
		if first {
			different++
		}
	}
	return different, nil
}

func sameDevice(d, e *device) bool {
	return d.id.serial == e.id.serial || d.id.hasPDI && e.id.hasPDI && d.id.pdi == e.id.pdi ||
		bytes.Equal(d.id.certs[0].RawSubjectPublicKeyInfo, e.id.certs[0].RawSubjectPublicKeyInfo) ||
		bytes.Equal(d.id.certs[1].RawSubjectPublicKeyInfo, e.id.certs[1].RawSubjectPublicKeyInfo)
}

// mayRepeat tells whether one report may stand there more than once, as in NVIDIA's
// own example of several switches: only among switches by themselves, whose number
// nobody asked for, for a command that looks.
func (r *run) mayRepeat() bool {
	if !r.policy.PermitUnpinned || r.policy.SwitchCount != nil || r.evidence.System {
		return false
	}
	for _, d := range r.evidence.Devices {
		if !d.Arch.IsSwitch() {
			return false
		}
	}
	return true
}

func (r *run) sameKind() error {
	var first *device
	for _, d := range r.devices {
		switch {
		case d.id.arch.IsSwitch():
		case first == nil:
			first = d
		case d.id.arch != first.id.arch || d.mode != first.mode:
			return fmt.Errorf("%s is %s in mode %s, %s is %s in mode %s", first.label(), first.id.arch, first.mode, d.label(), d.id.arch, d.mode)
		}
	}
	return nil
}

// checkTopology checks that the GPUs in protected PCIe mode and the NVSwitches in
// the evidence are each other's: no switch of which nothing is known may carry
// the GPUs' unencrypted links.
func (r *run) checkTopology() {
	var gpus, switches []*device
	protected := false
	for _, d := range r.devices {
		if d.id.arch.IsSwitch() {
			switches = append(switches, d)
			continue
		}
		gpus = append(gpus, d)
		protected = protected || d.mode == ModeProtectedPCIe
	}
	if len(gpus) == 0 {
		if r.policy.ProtectedPCIe == ProtectedPCIeRequired {
			r.verdict.Fail("topology_switches", "the evidence has no GPU")
		}
		return
	}
	if !protected || len(switches) == 0 && !r.wantsSwitches() {
		return
	}
	r.verdict.Report("topology_switches", switchesOfGPUs(gpus, switches), "every GPU names exactly the %d attested switches", len(switches))
	r.verdict.Report("topology_gpus", gpusOfSwitches(gpus, switches), "every switch names exactly the %d attested GPUs", len(gpus))
}

// wantsSwitches tells whether GPUs in protected PCIe mode need their switches in
// the evidence: unless it is of some GPUs by themselves, and the policy permits that.
func (r *run) wantsSwitches() bool {
	if r.policy.ProtectedPCIe != "" || !r.policy.PermitUnpinned || r.evidence.System {
		return true
	}
	r.unpin("protected_pcie")
	return false
}

// switchesOfGPUs compares the switches that each GPU is linked to with those that
// have been attested.
func switchesOfGPUs(gpus, switches []*device) error {
	var have []PDI
	for _, s := range switches {
		have = append(have, s.id.pdi)
	}
	for _, g := range gpus {
		linked, err := g.report.Opaque.LinkedSwitches()
		if err != nil {
			return fmt.Errorf("%s: %w", g.label(), err)
		}
		if len(linked) == 0 {
			return fmt.Errorf("%s names no switch, though its PCIe is protected", g.label())
		}
		if err := samePDIs(linked, have); err != nil {
			return fmt.Errorf("%s: switch %w", g.label(), err)
		}
	}
	return nil
}

func gpusOfSwitches(gpus, switches []*device) error {
	if len(switches) == 0 {
		return errors.New("the evidence has no switch")
	}
	var have []PDI
	for _, g := range gpus {
		if !g.id.hasPDI {
			return fmt.Errorf("%s: the device certificate's serial number %s holds no PDI", g.label(), g.id.serial)
		}
		have = append(have, g.id.pdi)
	}
	for _, s := range switches {
		linked, err := s.report.Opaque.LinkedGPUs()
		if err != nil {
			return fmt.Errorf("%s: %w", s.label(), err)
		}
		if err := samePDIs(linked, have); err != nil {
			return fmt.Errorf("%s: GPU %w", s.label(), err)
		}
	}
	return nil
}

func samePDIs(named, attested []PDI) error {
	for _, p := range named {
		if !slices.Contains(attested, p) {
			return fmt.Errorf("%s is named and was not attested", p)
		}
	}
	for _, p := range attested {
		if !slices.Contains(named, p) {
			return fmt.Errorf("%s was attested and is not named", p)
		}
	}
	return nil
}
