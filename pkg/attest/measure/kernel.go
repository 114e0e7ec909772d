package measure

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Fields of Linux's setup header (Documentation/arch/x86/boot.rst).
const (
	setupMagic     = 0x202
	setupVersion   = 0x206
	setupLoader    = 0x210
	setupFlags     = 0x211
	setupInitrd    = 0x218
	setupInitrdLen = 0x21C
	setupHeapEnd   = 0x224
	setupCmdline   = 0x228
	setupInitrdMax = 0x22C
	setupXFlags    = 0x236
	setupMin       = 0x1000

	loadedHigh   = 1 << 0
	canUseHeap   = 1 << 7
	xAbove4G     = 1 << 1
	loaderQEMU   = 0xB0
	defaultLimit = 0x37FFFFFF
)

// Memory of QEMU's q35 machine (hw/i386/pc_q35.c, hw/i386/x86-common.c).
const (
	// fullMemory is from when on memory below 4 GiB is lowSplit; with less, all of it
	// lies there.
	fullMemory = 0xB0000000
	lowSplit   = 0x80000000
	// acpiReserve is what QEMU keeps free below that end for ACPI tables.
	acpiReserve = 0x28000
)

// patchKernel returns the kernel with the setup header as QEMU fills it in before it
// hands the image to the firmware. memory is the guest's in bytes; it matters only
// below 2.75 GiB.
func patchKernel(kernel []byte, initrdSize int, memory uint64) ([]byte, error) {
	if len(kernel) < setupMin || string(kernel[setupMagic:setupMagic+4]) != "HdrS" {
		return nil, fmt.Errorf("%w: no Linux setup header", ErrKernel)
	}
	version := binary.LittleEndian.Uint16(kernel[setupVersion:])
	if version < 0x202 || kernel[setupFlags]&loadedHigh == 0 {
		return nil, fmt.Errorf("%w: boot protocol 0x%x is too old", ErrKernel, version)
	}
	out := bytes.Clone(kernel)
	const realMode, cmdline = 0x10000, 0x20000
	out[setupLoader] = loaderQEMU
	out[setupFlags] |= canUseHeap
	binary.LittleEndian.PutUint16(out[setupHeapEnd:], cmdline-realMode-0x200)
	binary.LittleEndian.PutUint32(out[setupCmdline:], cmdline)
	if initrdSize == 0 {
		return out, nil
	}
	limit := initrdLimit(out, version, memory)
	if int64(initrdSize) >= int64(limit) {
		return nil, fmt.Errorf("%w: initrd of %d bytes doesn't fit below 0x%x", ErrKernel, initrdSize, limit)
	}
	binary.LittleEndian.PutUint32(out[setupInitrd:], (limit-uint32(initrdSize))&^(pageSize-1))
	binary.LittleEndian.PutUint32(out[setupInitrdLen:], uint32(initrdSize))
	return out, nil
}

// initrdLimit is the highest address that QEMU uses for the initrd.
func initrdLimit(kernel []byte, version uint16, memory uint64) uint32 {
	limit := uint32(defaultLimit)
	switch {
	case version >= 0x20C && binary.LittleEndian.Uint16(kernel[setupXFlags:])&xAbove4G != 0:
		limit = ^uint32(0)
	case version >= 0x203:
		limit = binary.LittleEndian.Uint32(kernel[setupInitrdMax:])
	}
	low := uint32(lowSplit)
	if memory > 0 && memory < fullMemory {
		low = uint32(memory)
	}
	if low <= acpiReserve {
		return 0
	}
	if limit >= low-acpiReserve {
		limit = low - acpiReserve - 1
	}
	return limit
}
