package measure

import (
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
)

// ErrKernel tells that a kernel is not what the measurement needs.
var ErrKernel = errors.New("unusable kernel")

// maxKernel bounds a kernel and an initrd in bytes.
const maxKernel = 2 << 30

// Places in a PE image (Microsoft "PE Format").
const (
	peOffset        = 0x3C // where the PE header starts
	coffSections    = 6    // from the PE header on
	coffOptional    = 20   // size of the optional header
	peHead          = 24   // signature and COFF header
	optHeaderSize   = 60   // from the optional header on
	optChecksum     = 64
	pe32Plus        = 0x20B
	optCertificates = 144 // data directory 4 of PE32+
	optDirectories  = 108 // number of data directories of PE32+
	sectionSize     = 40
	maxPESections   = 96
)

// pe is what of a PE32+ image the Authenticode digest needs.
type pe struct {
	image      []byte
	optional   int
	headers    int
	hasCertDir bool
	certSize   int
	sections   [][2]int // offset and size of each section's data, by offset
}

// authenticode computes the Authenticode digest of a PE32+ image, as firmware
// measures it (Microsoft "Windows Authenticode Portable Executable Signature Format"):
// all but checksum, certificate directory and certificates; sections by offset, then
// what lies behind them.
func authenticode(image []byte) (Digest, error) {
	p, err := parsePE(image)
	if err != nil {
		return Digest{}, fmt.Errorf("%w: %w", ErrKernel, err)
	}
	h := sha512.New384()
	h.Write(image[:p.optional+optChecksum])
	if p.hasCertDir {
		h.Write(image[p.optional+optChecksum+4 : p.optional+optCertificates])
		h.Write(image[p.optional+optCertificates+8 : p.headers])
	} else {
		h.Write(image[p.optional+optChecksum+4 : p.headers])
	}
	hashed := p.headers
	for _, s := range p.sections {
		h.Write(image[s[0] : s[0]+s[1]])
		hashed += s[1]
	}
	if rest := len(image) - p.certSize - hashed; rest > 0 {
		h.Write(image[hashed : hashed+rest])
	}
	return Digest(h.Sum(nil)), nil
}

func parsePE(image []byte) (*pe, error) {
	if len(image) < peOffset+4 || len(image) > maxKernel || string(image[:2]) != "MZ" {
		return nil, errors.New("no PE image; a kernel with an EFI stub is needed")
	}
	at := int64(binary.LittleEndian.Uint32(image[peOffset:]))
	if at+peHead > int64(len(image)) || string(image[at:at+4]) != "PE\x00\x00" {
		return nil, errors.New("no PE header")
	}
	optSize := int(binary.LittleEndian.Uint16(image[at+coffOptional:]))
	p := &pe{image: image, optional: int(at) + peHead}
	if optSize < optDirectories+4 || p.optional+optSize > len(image) ||
		binary.LittleEndian.Uint16(image[p.optional:]) != pe32Plus {
		return nil, errors.New("no PE32+ header")
	}
	if err := p.readDirectory(optSize); err != nil {
		return nil, err
	}
	return p, p.readSections(p.optional+optSize, int(binary.LittleEndian.Uint16(image[at+coffSections:])))
}

// readDirectory finds the headers' size and the certificates', which are not hashed.
func (p *pe) readDirectory(optSize int) error {
	opt := p.image[p.optional:]
	p.headers = int(binary.LittleEndian.Uint32(opt[optHeaderSize:]))
	directories := binary.LittleEndian.Uint32(opt[optDirectories:])
	least := p.optional + optDirectories + 4
	if directories > 4 && optSize >= optCertificates+8 {
		p.hasCertDir, least = true, p.optional+optCertificates+8
		p.certSize = int(binary.LittleEndian.Uint32(opt[optCertificates+4:]))
	}
	if p.headers < least || p.headers > len(p.image) || p.certSize > len(p.image)-p.headers {
		return fmt.Errorf("headers of %d bytes and certificates of %d in an image of %d", p.headers, p.certSize, len(p.image))
	}
	return nil
}

func (p *pe) readSections(table, count int) error {
	if count > maxPESections || table+count*sectionSize > len(p.image) {
		return fmt.Errorf("%d sections", count)
	}
	total := int64(p.headers)
	for i := range count {
		e := p.image[table+i*sectionSize:]
		size, off := int64(binary.LittleEndian.Uint32(e[16:])), int64(binary.LittleEndian.Uint32(e[20:]))
		if size == 0 {
			continue
		}
		if total += size; off+size > int64(len(p.image)) || total > int64(len(p.image)) {
			return fmt.Errorf("section %d of %d bytes at %d lies outside the image", i, size, off)
		}
		p.sections = append(p.sections, [2]int{int(off), int(size)})
	}
	sort.SliceStable(p.sections, func(i, j int) bool { return p.sections[i][0] < p.sections[j][0] })
	return nil
}
