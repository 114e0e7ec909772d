package measure

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
)

const (
	// tdvfHead and tdvfSectionSize are the sizes of the TDVF descriptor and of its
	// sections (TDVF table 11-1 and 11-2).
	tdvfHead        = 16
	tdvfSectionSize = 32
	// maxAdded bounds the memory that is added before launch.
	maxAdded = 256 << 20
	// extendChunk is what one TDH.MR.EXTEND measures (TDX ABI, TDH.MR.EXTEND).
	extendChunk = 256
)

// Attributes of a TDVF section (TDVF table 11-4).
const (
	tdvfExtend = 1 << 0 // contents go into MRTD
	tdvfAug    = 1 << 1 // pages are added after launch, and not measured
)

// tdvfSection is memory that the firmware wants.
type tdvfSection struct {
	offset, rawSize uint32
	address, size   uint64
	attributes      uint32
}

// tdvfSections reads the TDVF descriptor: "TDVF", length, version 1, count, sections.
func (fw *firmware) tdvfSections() ([]tdvfSection, error) {
	distance, err := fw.word(guidTDXMetadata, 0, "TDX metadata")
	if err != nil {
		return nil, err
	}
	b, err := fw.fromEnd(distance, "TDX metadata")
	if err != nil {
		return nil, err
	}
	if len(b) < tdvfHead || string(b[:4]) != "TDVF" || binary.LittleEndian.Uint32(b[8:]) != 1 {
		return nil, fmt.Errorf("%w: TDX metadata of another form", ErrFirmware)
	}
	count := binary.LittleEndian.Uint32(b[12:])
	if count == 0 || count > maxSections || tdvfHead+tdvfSectionSize*int(count) > len(b) {
		return nil, fmt.Errorf("%w: TDX metadata with %d sections", ErrFirmware, count)
	}
	out := make([]tdvfSection, count)
	var added uint64
	for i := range out {
		e := b[tdvfHead+tdvfSectionSize*i:]
		s := tdvfSection{
			offset: binary.LittleEndian.Uint32(e), rawSize: binary.LittleEndian.Uint32(e[4:]),
			address: binary.LittleEndian.Uint64(e[8:]), size: binary.LittleEndian.Uint64(e[16:]),
			attributes: binary.LittleEndian.Uint32(e[28:]),
		}
		if err := s.check(len(fw.image)); err != nil {
			return nil, fmt.Errorf("%w: TDX section %d: %w", ErrFirmware, i, err)
		}
		if s.attributes&tdvfAug == 0 {
			added += s.size
		}
		if added > maxAdded {
			return nil, fmt.Errorf("%w: TDX sections of more than %d bytes", ErrFirmware, maxAdded)
		}
		out[i] = s
	}
	return out, nil
}

func (s tdvfSection) check(image int) error {
	if s.address%pageSize != 0 || s.size%pageSize != 0 || s.address+s.size < s.address {
		return fmt.Errorf("0x%x bytes at 0x%x are not whole pages", s.size, s.address)
	}
	if s.attributes&tdvfAug == 0 && s.size > maxAdded {
		return fmt.Errorf("%d bytes, want at most %d", s.size, maxAdded)
	}
	if uint64(s.offset)+uint64(s.rawSize) > uint64(image) {
		return fmt.Errorf("data at 0x%x of 0x%x bytes lie outside the image; take the whole one (OVMF.fd), not its code part", s.offset, s.rawSize)
	}
	if s.attributes&tdvfExtend == 0 {
		return nil
	}
	if s.attributes&tdvfAug != 0 {
		return fmt.Errorf("pages are both measured and added after launch")
	}
	if uint64(s.rawSize) != s.size {
		return fmt.Errorf("0x%x bytes of data for 0x%x measured bytes", s.rawSize, s.size)
	}
	return nil
}

// mrtd computes MRTD as KVM and the TDX module build it: each page is added, and,
// where the section says so, measured at once in chunks of 256 bytes.
func (fw *firmware) mrtd() (Digest, error) {
	sections, err := fw.tdvfSections()
	if err != nil {
		return Digest{}, err
	}
	h := sha512.New384()
	for _, s := range sections {
		if s.attributes&tdvfAug != 0 {
			continue
		}
		for off := uint64(0); off < s.size; off += pageSize {
			tdhRecord(h, "MEM.PAGE.ADD", s.address+off)
			if s.attributes&tdvfExtend == 0 {
				continue
			}
			page := fw.image[uint64(s.offset)+off:][:pageSize]
			for at := 0; at < pageSize; at += extendChunk {
				tdhRecord(h, "MR.EXTEND", s.address+off+uint64(at))
				h.Write(page[at : at+extendChunk])
			}
		}
	}
	return Digest(h.Sum(nil)), nil
}

// tdhRecord hashes the 128 bytes that stand for one call of the TDX module: its name,
// and at byte 16 the address (TDX ABI, TDH.MEM.PAGE.ADD and TDH.MR.EXTEND).
func tdhRecord(h hash.Hash, name string, gpa uint64) {
	var b [128]byte
	copy(b[:16], name)
	binary.LittleEndian.PutUint64(b[16:], gpa)
	h.Write(b[:])
}
