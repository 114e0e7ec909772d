package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	pageSize = 4096
	// maxFirmware bounds a firmware image in bytes; OVMF's have 2 to 16 MiB.
	maxFirmware = 64 << 20
	// fourGiB is where firmware images end in guest memory.
	fourGiB = 1 << 32
	// tableEnd is how far before the image's end the GUID table ends (OVMF ResetVector).
	tableEnd = 32
	// entryHead is the size of an entry's length and GUID, which stand behind its data.
	entryHead = 18
	// maxSections bounds the sections of a metadata table.
	maxSections = 128
)

// ErrFirmware tells that a firmware image is not what the measurement needs.
var ErrFirmware = errors.New("unusable firmware")

// firmware is an OVMF image, or the tail of one, with its GUID table.
type firmware struct {
	image []byte
	table map[guid][]byte
}

// parseFirmware reads the GUID table at an image's end: entries of data, length and
// GUID, walked backwards from the footer, whose length is the table's.
func parseFirmware(image []byte) (*firmware, error) {
	if len(image) < tableEnd+entryHead || len(image) > maxFirmware {
		return nil, fmt.Errorf("%w: %d bytes, want up to %d", ErrFirmware, len(image), maxFirmware)
	}
	end := len(image) - tableEnd
	if guid(image[end-16:end]) != guidTableFooter {
		return nil, fmt.Errorf("%w: no OVMF table at its end", ErrFirmware)
	}
	size := int(binary.LittleEndian.Uint16(image[end-entryHead:]))
	if size < entryHead || size > end {
		return nil, fmt.Errorf("%w: table of %d bytes", ErrFirmware, size)
	}
	fw := &firmware{image: image, table: map[guid][]byte{}}
	rest := image[end-size : end-entryHead]
	for len(rest) >= entryHead {
		head := rest[len(rest)-entryHead:]
		n := int(binary.LittleEndian.Uint16(head))
		if n < entryHead || n > len(rest) {
			return nil, fmt.Errorf("%w: table entry of %d bytes", ErrFirmware, n)
		}
		id := guid(head[2:])
		if _, twice := fw.table[id]; twice {
			return nil, fmt.Errorf("%w: table entry stands twice", ErrFirmware)
		}
		fw.table[id] = rest[len(rest)-n : len(rest)-entryHead]
		rest = rest[:len(rest)-n]
	}
	return fw, nil
}

// word returns the 32-bit word at an offset into an entry of the table.
func (fw *firmware) word(id guid, off int, what string) (uint32, error) {
	entry, ok := fw.table[id]
	if !ok {
		return 0, fmt.Errorf("%w: no %s in its table", ErrFirmware, what)
	}
	if len(entry) < off+4 {
		return 0, fmt.Errorf("%w: %s has %d bytes", ErrFirmware, what, len(entry))
	}
	return binary.LittleEndian.Uint32(entry[off:]), nil
}

// fromEnd returns the image's bytes from a distance before its end on.
func (fw *firmware) fromEnd(distance uint32, what string) ([]byte, error) {
	if int64(distance) > int64(len(fw.image)) {
		return nil, fmt.Errorf("%w: %s lies 0x%x before the end of %d bytes", ErrFirmware, what, distance, len(fw.image))
	}
	return fw.image[len(fw.image)-int(distance):], nil
}

// base is the guest address at which the image is mapped.
func (fw *firmware) base() uint64 { return fourGiB - uint64(len(fw.image)) }

// sectionKind is the kind of a section in OVMF's SEV metadata
// (OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm).
type sectionKind uint32

const (
	sectionMemory       sectionKind = 1
	sectionSecrets      sectionKind = 2
	sectionCPUID        sectionKind = 3
	sectionSVSMArea     sectionKind = 4
	sectionKernelHashes sectionKind = 0x10
)

// wantsPage tells whether a section without a size makes no sense. OVMF builds without
// kernel hashes have an empty section for them.
func (k sectionKind) wantsPage() bool { return k == sectionSecrets || k == sectionCPUID }

// sevSection is guest memory that the hypervisor adds before launch.
type sevSection struct {
	gpa, size uint64
	kind      sectionKind
}

// sevSections reads the SEV metadata: "ASEV", length, version 1, count, and for each
// section address, size and kind, words of 32 bits.
func (fw *firmware) sevSections() ([]sevSection, error) {
	distance, err := fw.word(guidSEVMetadata, 0, "SEV metadata")
	if err != nil {
		return nil, err
	}
	b, err := fw.fromEnd(distance, "SEV metadata")
	if err != nil {
		return nil, err
	}
	if len(b) < 16 || string(b[:4]) != "ASEV" || binary.LittleEndian.Uint32(b[8:]) != 1 {
		return nil, fmt.Errorf("%w: SEV metadata of another form", ErrFirmware)
	}
	size, count := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[12:])
	if count > maxSections || uint64(size) != 16+12*uint64(count) || int(size) > len(b) {
		return nil, fmt.Errorf("%w: SEV metadata of %d bytes with %d sections", ErrFirmware, size, count)
	}
	out := make([]sevSection, count)
	for i := range out {
		e := b[16+12*i:]
		s := sevSection{uint64(binary.LittleEndian.Uint32(e)), uint64(binary.LittleEndian.Uint32(e[4:])), sectionKind(binary.LittleEndian.Uint32(e[8:]))}
		if s.gpa%pageSize != 0 || s.size%pageSize != 0 || s.size > maxFirmware || s.size == 0 && s.kind.wantsPage() {
			return nil, fmt.Errorf("%w: SEV section %d at 0x%x of 0x%x bytes", ErrFirmware, i, s.gpa, s.size)
		}
		out[i] = s
	}
	return out, nil
}
