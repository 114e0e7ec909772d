package agent

import (
	"sync"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// hostBoard is what is told of the host. The host on it is never changed, only
// replaced.
type hostBoard struct {
	// telling is held from a look at the host until what was seen is on the board: no
	// older look replaces a newer one.
	telling sync.Mutex
	mu      sync.Mutex // guards all below
	host    *agentv1.Host
	changed chan struct{} // closed and replaced with every change
}

func newHostBoard(h *agentv1.Host) *hostBoard {
	return &hostBoard{host: h, changed: make(chan struct{})}
}

// publish puts what look sees in place of what was told before. Those who watch are
// told only if more than the time of observation changed.
func (b *hostBoard) publish(look func() *agentv1.Host) {
	b.telling.Lock()
	defer b.telling.Unlock()
	h := look()
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.host
	b.host = h
	if old != nil {
		same := proto.CloneOf(old)
		same.ObserveTime = h.GetObserveTime()
		if proto.Equal(same, h) {
			return
		}
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// get returns the host and a channel that is closed at its next change.
func (b *hostBoard) get() (*agentv1.Host, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.host, b.changed
}
