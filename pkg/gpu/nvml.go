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

// NVMLReport is what a card proves of itself with: unread, and believed by nobody
// who has not verified it.
type NVMLReport struct {
	// BusID is the PCI address as NVML writes it, UUID the card's.
	BusID, UUID string
	// Generation is Hopper or Blackwell.
	Generation Generation
	// Report is the signed answer to the nonce, Chain the PEM certificates of the
	// key that signed it.
	Report, Chain []byte
}

// NVMLReporter has cards report. Its call may block for ever when the driver is
// stuck, and takes some seconds for eight cards. Package nvml has the real one.
type NVMLReporter interface {
	// Reports has every card that the nvidia driver holds make a report over the
	// nonce. One card that can't fails the call, and so does a driver that lacks
	// the functions. It fails with ErrNoNVML where there is no library or driver.
	Reports(nonce [32]byte) ([]NVMLReport, error)
}

// ErrNoNVML says that NVML is not to be had: built without it, no library, or
// no driver loaded.
var ErrNoNVML = errors.New("NVML is not available")
