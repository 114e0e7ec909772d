package measure_test

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand"
	"strings"
	"testing"
)

// section is a section of SEV metadata; tdvf one of TDX metadata.
type (
	section struct{ gpa, size, kind uint32 }
	tdvf    struct {
		offset, raw   uint32
		address, size uint64
		kind, attr    uint32
	}
)

// image describes a small firmware image of the test's own making.
type image struct {
	size     int
	sev      []section
	tdx      []tdvf
	hashes   [2]uint32 // place and size of the kernel hash table, none if zero
	reset    uint32    // where further vCPUs start, none if zero
	sevCount int       // count in the SEV header if it is to be wrong
}

// goodImage has all that SEV-SNP and TDX want.
func goodImage() image {
	const size = 64 << 10
	return image{
		size: size,
		sev: []section{
			{0x800000, 0x9000, 1}, {0x80A000, 0x3000, 1}, {0x80D000, 0x1000, 2}, {0x80E000, 0x1000, 3},
			{0x80F000, 0x1000, 4}, {0x810000, 0x1000, 0x10},
		},
		tdx: []tdvf{
			{0x1000, 0xF000, 1<<32 - size + 0x1000, 0xF000, 0, 1},
			{0, 0x1000, 1<<32 - size, 0x1000, 1, 0},
			{0, 0, 0x810000, 0x10000, 3, 0},
			{0, 0, 0x809000, 0x2000, 2, 0},
			{0, 0, 0x100000000, 0x40000000, 4, 2},
		},
		hashes: [2]uint32{0x810C00, 0x400}, reset: 0x0080B004,
	}
}

func stored(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][2]int{{0, 3}, {1, 2}, {4, 5}, {6, 7}} {
		b[p[0]], b[p[1]] = b[p[1]], b[p[0]]
	}
	return b
}

// build lays the image out: random contents, metadata at the front of the last page,
// the GUID table at the end.
func (im image) build(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, im.size)
	rand.New(rand.NewSource(7)).Read(b)
	sevAt, tdxAt := im.size-0x1000, im.size-0x800
	count := len(im.sev)
	if im.sevCount != 0 {
		count = im.sevCount
	}
	put := func(at int, words ...uint32) {
		for i, w := range words {
			binary.LittleEndian.PutUint32(b[at+4*i:], w)
		}
	}
	copy(b[sevAt:], "ASEV")
	put(sevAt+4, uint32(16+12*len(im.sev)), 1, uint32(count))
	for i, s := range im.sev {
		put(sevAt+16+12*i, s.gpa, s.size, s.kind)
	}
	copy(b[tdxAt-16:], stored(t, "e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae"))
	copy(b[tdxAt:], "TDVF")
	put(tdxAt+4, uint32(16+32*len(im.tdx)), 1, uint32(len(im.tdx)))
	for i, s := range im.tdx {
		put(tdxAt+16+32*i, s.offset, s.raw, uint32(s.address), uint32(s.address>>32), uint32(s.size), uint32(s.size>>32), s.kind, s.attr)
	}
	var table []byte
	entry := func(id string, words ...uint32) {
		for _, w := range words {
			table = binary.LittleEndian.AppendUint32(table, w)
		}
		table = binary.LittleEndian.AppendUint16(table, uint16(4*len(words)+18))
		table = append(table, stored(t, id)...)
	}
	if im.hashes[1] != 0 {
		entry("7255371f-3a3b-4b04-927b-1da6efa8d454", im.hashes[0], im.hashes[1])
	}
	if im.reset != 0 {
		entry("00f771de-1a7e-4fcb-890e-68c77e2fb44e", im.reset)
	}
	if im.sev != nil {
		entry("dc886566-984a-4798-a75e-5585a7bf67cc", uint32(im.size-sevAt))
	}
	if im.tdx != nil {
		entry("e47a6535-984a-4798-865e-4685a7bf8ec2", uint32(im.size-tdxAt))
	}
	table = binary.LittleEndian.AppendUint16(table, uint16(len(table)+18))
	table = append(table, stored(t, "96b582de-1fb2-45f7-baea-a366c55a082d")...)
	copy(b[im.size-32-len(table):], table)
	return b
}
