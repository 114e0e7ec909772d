package gpu

import "errors"

// NVSwitchReport is what an NVSwitch proves of itself with: unread, and believed by
// nobody who has not verified it.
type NVSwitchReport struct {
	// UUID is the switch's label, such as SWX-35FF863C-6060-5091-4975-2169DA2D5200.
	UUID string
	// Report is the signed answer to the nonce, Chain the PEM certificates of the
	// key that signed it.
	Report, Chain []byte
}

// NVSwitchReporter has NVSwitches report, of which NVML knows nothing. Its call may
// block for ever when the driver is stuck. Package nscq has the real one.
type NVSwitchReporter interface {
	// Reports has every NVSwitch that the driver holds make a report over the nonce.
	// It fails if one can't, and if there is none. It fails with ErrNoNSCQ where the
	// library is not to be had.
	Reports(nonce [32]byte) ([]NVSwitchReport, error)
}

// ErrNoNSCQ says that NSCQ is not to be had: built without it, no library, or one
// that does not fit the driver.
var ErrNoNSCQ = errors.New("NSCQ is not available")
