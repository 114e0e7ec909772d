package gpu

import (
	"context"
	"errors"
	"time"
)

// Inventory lists a host's GPUs. Implementations are safe for concurrent use,
// return within their own bounds on time even when a driver hangs, and list
// every card that PCI shows, also one that they can say little about.
type Inventory interface {
	// Snapshot reads the state now. A card or a source that can't be read is
	// no error: it is a Reason or a Condition in the snapshot. An error means
	// that nothing could be learnt.
	Snapshot(ctx context.Context) (Snapshot, error)
}

// Event is something that a card said of itself.
type Event struct {
	BDF  BDF
	Xid  uint64 // NVIDIA's error number, see docs.nvidia.com/deploy/xid-errors
	At   time.Time
	Sick bool // false for Xids that an application's fault causes
}

// Watcher is an Inventory that can report events as they happen.
type Watcher interface {
	// Watch calls fn for each event, from one goroutine, until ctx is done or
	// the source fails; it returns the reason. A snapshot taken after fn was
	// called shows the event's effect.
	Watch(ctx context.Context, fn func(Event)) error
}

// ModeSetter is an Inventory that can change the mode of the host's cards.
type ModeSetter interface {
	// SetMode brings all GPUs and NVSwitches of the host to ModeOn or
	// ModePPCIe together and returns once they are read back in that mode.
	// The caller makes sure that nobody holds any of them. After an error the
	// cards may disagree; the next snapshot tells.
	SetMode(ctx context.Context, mode Mode) error
}

// ErrModeNotSettable says that a host has nothing whose mode can be set to the
// one asked for.
var ErrModeNotSettable = errors.New("this host's cards can't be switched to that mode")

// applicationXids are the Xids that a fault of the application causes; the
// card stays sound. The same list as NVIDIA's k8s-device-plugin ignores
// (internal/rm/health.go).
var applicationXids = map[uint64]bool{13: true, 31: true, 43: true, 45: true, 68: true, 109: true}

// SickXid reports whether an Xid means that the card itself is unwell.
func SickXid(xid uint64) bool { return !applicationXids[xid] }
