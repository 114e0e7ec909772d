package measure

import (
	"crypto/sha512"
	"encoding/binary"
)

// Page types of PAGE_INFO (ABI table 67).
const (
	pageNormal  = 0x01
	pageVMSA    = 0x02
	pageZero    = 0x03
	pageSecrets = 0x05
	pageCPUID   = 0x06
)

// vmsaGPA is the address under which a VMSA page is measured: all ones, without the
// bits above the 52nd and within the page (ABI section 8.17.2).
const vmsaGPA = 0xFFFFFFFFF000

// launchContext is the digest of a guest that is being launched (ABI section 8.17.2).
type launchContext struct{ digest Digest }

// add extends the digest by one page: PAGE_INFO is the digest so far, the contents'
// digest, the structure's length, the page's type, three permissions, and its address.
func (c *launchContext) add(kind byte, gpa uint64, contents Digest) {
	var info [0x70]byte
	copy(info[0:], c.digest[:])
	copy(info[48:], contents[:])
	binary.LittleEndian.PutUint16(info[96:], uint16(len(info)))
	info[98] = kind
	binary.LittleEndian.PutUint64(info[104:], gpa)
	c.digest = sha512.Sum384(info[:])
}

// addPages extends the digest by whole pages of contents.
func (c *launchContext) addPages(kind byte, gpa uint64, data []byte) {
	for off := 0; off+pageSize <= len(data); off += pageSize {
		c.add(kind, gpa+uint64(off), sha512.Sum384(data[off:off+pageSize]))
	}
}

// addEmpty extends the digest by pages whose contents aren't measured: zero,
// secrets and CPUID pages have a digest of zeros.
func (c *launchContext) addEmpty(kind byte, gpa, size uint64) {
	for off := uint64(0); off < size; off += pageSize {
		c.add(kind, gpa+off, Digest{})
	}
}

func sumPage(page []byte) Digest { return sha512.Sum384(page) }
