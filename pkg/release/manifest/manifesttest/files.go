// Package manifesttest makes boot files that are small and belong to nobody: a
// firmware with the metadata of SEV-SNP and TDX, and a kernel with an EFI stub.
// They can be measured, not booted.
package manifesttest

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// Size of the firmware in bytes, and where its parts lie.
const (
	firmwareSize = 64 << 10
	sevAt        = firmwareSize - 0x1000
	tdxAt        = firmwareSize - 0x800
)

// Firmware returns an image of 64 KiB (layout: EDK II, OvmfPkg/ResetVector).
func Firmware() []byte {
	b := make([]byte, firmwareSize)
	for i := range b {
		b[i] = byte(i*31 + i>>8)
	}
	sev := [][]uint32{
		{0x800000, 0x9000, 1}, {0x80A000, 0x3000, 1}, {0x80D000, 0x1000, 2},
		{0x80E000, 0x1000, 3}, {0x80F000, 0x1000, 4}, {0x810000, 0x1000, 0x10},
	}
	copy(b[sevAt:], "ASEV")
	put(b[sevAt+4:], uint32(16+12*len(sev)), 1, uint32(len(sev)))
	for i, s := range sev {
		put(b[sevAt+16+12*i:], s...)
	}
	// Offset, size in the file, address and size (64 bits each), kind, attributes.
	tdx := [][]uint32{
		{0x1000, 0xF000, 0xFFFF1000, 0, 0xF000, 0, 0, 1},
		{0, 0x1000, 0xFFFF0000, 0, 0x1000, 0, 1, 0},
		{0, 0, 0x810000, 0, 0x10000, 0, 3, 0},
		{0, 0, 0x809000, 0, 0x2000, 0, 2, 0},
	}
	copy(b[tdxAt-16:], guid("e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae"))
	copy(b[tdxAt:], "TDVF")
	put(b[tdxAt+4:], uint32(16+32*len(tdx)), 1, uint32(len(tdx)))
	for i, s := range tdx {
		put(b[tdxAt+16+32*i:], s...)
	}
	table := guidTable()
	copy(b[firmwareSize-32-len(table):], table)
	return b
}

// guidTable names the places of the metadata; it is read from its end.
func guidTable() []byte {
	var t []byte
	entry := func(id string, words ...uint32) {
		for _, w := range words {
			t = binary.LittleEndian.AppendUint32(t, w)
		}
		t = binary.LittleEndian.AppendUint16(t, uint16(4*len(words)+18))
		t = append(t, guid(id)...)
	}
	entry("7255371f-3a3b-4b04-927b-1da6efa8d454", 0x810C00, 0x400) // kernel hashes
	entry("00f771de-1a7e-4fcb-890e-68c77e2fb44e", 0x0080B004)      // reset vector
	entry("dc886566-984a-4798-a75e-5585a7bf67cc", firmwareSize-sevAt)
	entry("e47a6535-984a-4798-865e-4685a7bf8ec2", firmwareSize-tdxAt)
	t = binary.LittleEndian.AppendUint16(t, uint16(len(t)+18))
	return append(t, guid("96b582de-1fb2-45f7-baea-a366c55a082d")...)
}

// Kernel returns a PE32+ image with Linux's setup header (Linux boot protocol
// 2.15).
func Kernel() []byte {
	b := make([]byte, 0x2000)
	copy(b, "MZ")
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20F)
	b[0x211] = 1
	put(b[0x22C:], 0x7FFFFFFF)
	binary.LittleEndian.PutUint16(b[0x236:], 0x7F)
	const pe = 0x40
	put(b[0x3C:], pe)
	copy(b[pe:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(b[pe+6:], 1)    // sections
	binary.LittleEndian.PutUint16(b[pe+20:], 160) // optional header
	opt := b[pe+24:]
	binary.LittleEndian.PutUint16(opt, 0x20B)
	put(opt[60:], 0x1000) // headers
	put(opt[108:], 6)     // directories
	put(opt[160+16:], 0x1000, 0x1000)
	return b
}

func put(b []byte, words ...uint32) {
	for i, w := range words {
		binary.LittleEndian.PutUint32(b[4*i:], w)
	}
}

// guid is the stored form of a GUID: its first three parts are little-endian.
func guid(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil {
		panic(err) // the text stands in this file
	}
	for _, p := range [][2]int{{0, 3}, {1, 2}, {4, 5}, {6, 7}} {
		b[p[0]], b[p[1]] = b[p[1]], b[p[0]]
	}
	return b
}
