package measure

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	// hashEntrySize is a GUID, a length and a SHA-256 (QEMU target/i386/sev.c, SevHashTableEntry).
	hashEntrySize = 16 + 2 + sha256.Size
	// hashTableSize is the header and the entries of command line, initrd and kernel.
	hashTableSize = 16 + 2 + 3*hashEntrySize
	// hashTablePadded is the table's size in the page, rounded up to 16 bytes.
	hashTablePadded = (hashTableSize + 15) &^ 15
)

// DirectBoot is a kernel that the hypervisor hands to the firmware.
type DirectBoot struct {
	// Kernel and Initrd are the files' contents; an initrd may be empty.
	Kernel, Initrd []byte
	// Append is the kernel's command line.
	Append string
}

// kernelHashesPage builds the page that QEMU adds with kernel-hashes=on: the table of
// hashes at its place, zeros around it. The command line is hashed with its final NUL.
func kernelHashesPage(fw *firmware, boot *DirectBoot) ([]byte, error) {
	gpa, err := fw.word(guidSEVHashTable, 0, "SEV hash table")
	if err != nil {
		return nil, fmt.Errorf("kernel hashes: %w", err)
	}
	room, err := fw.word(guidSEVHashTable, 4, "SEV hash table")
	if err != nil {
		return nil, fmt.Errorf("kernel hashes: %w", err)
	}
	off := int(gpa % pageSize)
	if off+hashTablePadded > pageSize || room < hashTablePadded {
		return nil, fmt.Errorf("%w: SEV hash table at 0x%x of %d bytes doesn't hold %d in one page", ErrFirmware, gpa, room, hashTablePadded)
	}
	page := make([]byte, pageSize)
	b := page[off:off]
	b = append(b, guidHashesHeader[:]...)
	b = binary.LittleEndian.AppendUint16(b, hashTableSize)
	for _, e := range []struct {
		id   guid
		hash [sha256.Size]byte
	}{
		{guidHashCmdline, sha256.Sum256(append([]byte(boot.Append), 0))},
		{guidHashInitrd, sha256.Sum256(boot.Initrd)},
		{guidHashKernel, sha256.Sum256(boot.Kernel)},
	} {
		b = append(b, e.id[:]...)
		b = binary.LittleEndian.AppendUint16(b, hashEntrySize)
		b = append(b, e.hash[:]...)
	}
	return page, nil
}
