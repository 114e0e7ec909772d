package measure

import (
	"encoding/binary"
	"fmt"
)

// VMM is a hypervisor, as far as it differs in the state in which it starts vCPUs.
type VMM string

// The hypervisors whose vCPUs can be measured.
const (
	QEMU VMM = "qemu"
	EC2  VMM = "ec2"
)

// resetVector is where the first vCPU starts (APM section 14.1.3).
const resetVector = 0xFFFFFFF0

// Offsets into the VMSA (APM table B-4). A segment is selector, attributes, limit and
// base: 2, 2, 4 and 8 bytes.
const (
	vmsaES       = 0x000
	vmsaCS       = 0x010
	vmsaSS       = 0x020
	vmsaDS       = 0x030
	vmsaFS       = 0x040
	vmsaGS       = 0x050
	vmsaGDTR     = 0x060
	vmsaLDTR     = 0x070
	vmsaIDTR     = 0x080
	vmsaTR       = 0x090
	vmsaEFER     = 0x0D0
	vmsaCR4      = 0x148
	vmsaCR0      = 0x158
	vmsaDR7      = 0x160
	vmsaDR6      = 0x168
	vmsaRFLAGS   = 0x170
	vmsaRIP      = 0x178
	vmsaGPAT     = 0x268
	vmsaRDX      = 0x310
	vmsaFeatures = 0x3B0
	vmsaXCR0     = 0x3E8
	vmsaMXCSR    = 0x408
	vmsaFCW      = 0x410
)

// cpuReset is what differs between hypervisors in a vCPU's first state.
type cpuReset struct {
	csAttr, ssAttr, trAttr uint16
	rdx                    uint64
	mxcsr                  uint32
	fcw                    uint16
}

// resetState returns the first state of a vCPU that starts at eip. QEMU passes the
// CPU's signature in RDX and initialises the FPU; EC2 does neither, and marks the
// segments otherwise.
func resetState(vmm VMM, eip uint32, signature uint64) (cpuReset, error) {
	switch vmm {
	case QEMU:
		return cpuReset{csAttr: 0x9B, ssAttr: 0x93, trAttr: 0x8B, rdx: signature, mxcsr: 0x1F80, fcw: 0x37F}, nil
	case EC2:
		s := cpuReset{csAttr: 0x9B, ssAttr: 0x92, trAttr: 0x83}
		if eip == resetVector {
			s.csAttr = 0x9A
		}
		return s, nil
	}
	return cpuReset{}, fmt.Errorf("unknown VMM %q, want %s or %s", vmm, QEMU, EC2)
}

// vmsaPage builds the save area page of a vCPU that starts at eip in real mode.
// features are SEV_FEATURES (APM table 15-36).
func vmsaPage(s cpuReset, eip uint32, features uint64) []byte {
	page := make([]byte, pageSize)
	segment := func(off int, selector, attr uint16, base uint64) {
		binary.LittleEndian.PutUint16(page[off:], selector)
		binary.LittleEndian.PutUint16(page[off+2:], attr)
		binary.LittleEndian.PutUint32(page[off+4:], 0xFFFF)
		binary.LittleEndian.PutUint64(page[off+8:], base)
	}
	segment(vmsaES, 0, 0x93, 0)
	segment(vmsaCS, 0xF000, s.csAttr, uint64(eip&0xFFFF0000))
	segment(vmsaSS, 0, s.ssAttr, 0)
	segment(vmsaDS, 0, 0x93, 0)
	segment(vmsaFS, 0, 0x93, 0)
	segment(vmsaGS, 0, 0x93, 0)
	segment(vmsaGDTR, 0, 0, 0)
	segment(vmsaLDTR, 0, 0x82, 0)
	segment(vmsaIDTR, 0, 0, 0)
	segment(vmsaTR, 0, s.trAttr, 0)
	for off, v := range map[int]uint64{
		vmsaEFER: 0x1000, // SVME, which KVM sets
		vmsaCR4:  0x40,   // MCE, which KVM sets
		vmsaCR0:  0x10,   // ET
		vmsaDR7:  0x400, vmsaDR6: 0xFFFF0FF0, vmsaRFLAGS: 0x2,
		vmsaRIP:  uint64(eip & 0xFFFF),
		vmsaGPAT: 0x7040600070406, // PAT after reset (APM section 7.8.2)
		vmsaRDX:  s.rdx, vmsaFeatures: features,
		vmsaXCR0: 0x1, // x87
	} {
		binary.LittleEndian.PutUint64(page[off:], v)
	}
	binary.LittleEndian.PutUint32(page[vmsaMXCSR:], s.mxcsr)
	binary.LittleEndian.PutUint16(page[vmsaFCW:], s.fcw)
	return page
}
