package gpu

import (
	"errors"
	"time"
)

// NVML is the part of NVIDIA's management library that an inventory needs. Its
// calls may block for ever when the driver is stuck, so Host gives each of them
// a deadline. It is safe for concurrent use. Package nvml beneath this one has
// the real one.
type NVML interface {
	// Devices lists the cards that the nvidia driver holds. A card of which
	// something can't be read is listed, with a Problem. It fails with
	// ErrNoNVML where there is no library or no driver.
	Devices() ([]NVMLDevice, error)
	// WaitXid waits up to timeout for the next Xid. It returns false when none
	// came.
	WaitXid(timeout time.Duration) (NVMLXid, bool, error)
}

// NVMLDevice is what NVML says of one card.
type NVMLDevice struct {
	BusID     string // PCI address as NVML writes it
	UUID      string
	Name      string
	MemoryMiB uint64
	MIG       bool
	ECC       ECC
	Mode      Mode   // ModeUnreadable where the driver doesn't know
	Problem   string // what could not be read; empty if all could
}

// NVMLXid is an Xid as NVML reports it.
type NVMLXid struct {
	BusID string // empty where NVML doesn't say which card
	Xid   uint64
}

// ErrNoNVML says that NVML is not to be had: built without it, no library, or
// no driver loaded.
var ErrNoNVML = errors.New("NVML is not available")
