package gpu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openNonblock keeps an open from waiting for a writer, should a path be a pipe.
const openNonblock = unix.O_NONBLOCK

// ModeReader reads the confidential-computing mode of a card from the card
// itself, for cards that the driver doesn't speak for.
type ModeReader interface {
	// ReadMode returns the mode, or ModeUnreadable with the reason as an error.
	ReadMode(ctx context.Context, card BDF, generation Generation) (Mode, error)
}

// Offsets in BAR 0 of the register whose two lowest bits are the mode: what
// NVIDIA's gpu-admin-tools reads for --query-cc-mode.
const (
	hopperModeOffset    = 0x1182cc
	blackwellModeOffset = 0x590
)

// Values of the register.
const (
	registerMask     = 3
	registerOff      = 0
	registerOn       = 1
	registerDevtools = 3
	allOnes          = 0xffffffff // what a PCI read returns when nothing answers
)

// errModeUnreadable is wrapped by every reason for which a mode can't be read.
var errModeUnreadable = errors.New("the mode can't be read from the card")

// ModeRegister reads the mode from BAR 0 through sysfs. It wakes a suspended
// card, and changes nothing else: a card whose memory decoding is off answers
// all ones and is unreadable. The register tells off, on and devtools apart.
// Protected PCIe is not in it but in a setting that only the card's firmware
// tells (gpu-admin-tools, gpu/prc.py, PRC_KNOB_ID_PPCIE), so such a card reads
// as off here.
type ModeRegister struct {
	// Root is the filesystem root, normally "/".
	Root string
}

// ReadMode implements ModeReader.
func (m ModeRegister) ReadMode(ctx context.Context, card BDF, generation Generation) (Mode, error) {
	if err := ctx.Err(); err != nil {
		return ModeUnreadable, fmt.Errorf("read mode of %s: %w", card, err)
	}
	offsets := map[Generation]int64{Hopper: hopperModeOffset, Blackwell: blackwellModeOffset}
	offset, ok := offsets[generation]
	if !ok {
		return ModeUnreadable, fmt.Errorf("read mode of %s: %w: generation %s has no known register", card, errModeUnreadable, generation)
	}
	value, err := m.read(card, offset)
	if err != nil {
		return ModeUnreadable, fmt.Errorf("read mode of %s: %w", card, err)
	}
	mode, err := decodeMode(value)
	if err != nil {
		return ModeUnreadable, fmt.Errorf("read mode of %s: %w", card, err)
	}
	return mode, nil
}

// decodeMode says what the register's value means.
func decodeMode(value uint32) (Mode, error) {
	if value == allOnes {
		return ModeUnreadable, fmt.Errorf("%w: it answers all ones: it is suspended, or its memory decoding is off", errModeUnreadable)
	}
	switch value & registerMask {
	case registerOff:
		return ModeOff, nil
	case registerOn:
		return ModeOn, nil
	case registerDevtools:
		return ModeDevtools, nil
	default:
		return ModeUnreadable, fmt.Errorf("%w: the register holds %#x, which no mode has", errModeUnreadable, value)
	}
}

// read wakes the card and reads four bytes of BAR 0.
func (m ModeRegister) read(card BDF, offset int64) (value uint32, err error) {
	root, err := os.OpenRoot(m.Root)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	dir := path.Join(pciDevices, string(card))
	if err := wake(root, dir); err != nil {
		return 0, fmt.Errorf("wake: %w", err)
	}
	f, err := root.OpenFile(path.Join(dir, "resource0"), os.O_RDONLY|unix.O_SYNC|openNonblock, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return mapWord(f, offset)
}

// wake keeps a card from being suspended at run time, which also resumes it.
func wake(root *os.Root, dir string) error {
	f, err := root.OpenFile(path.Join(dir, "power/control"), os.O_WRONLY|openNonblock, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without runtime power management suspends nothing
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("on")
	return errors.Join(err, f.Close())
}

// mapWord maps the page around offset and loads one word: sysfs offers memory
// BARs through mmap only (Linux Documentation/PCI/sysfs-pci.rst).
func mapWord(f *os.File, offset int64) (value uint32, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() || info.Size() < offset+4 {
		return 0, fmt.Errorf("%w: BAR 0 has %d bytes, and the register is at %#x", errModeUnreadable, info.Size(), offset)
	}
	pageSize := int64(os.Getpagesize())
	from := offset - offset%pageSize
	length := min(pageSize, info.Size()-from)
	page, err := unix.Mmap(int(f.Fd()), from, int(length), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("map BAR 0: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(page)) }()
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&page[offset-from]))), nil
}
