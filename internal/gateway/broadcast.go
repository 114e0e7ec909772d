package gateway

import "sync/atomic"

// broadcast wakes everyone who waits, and costs one atomic load if nobody does.
// The zero value is ready.
type broadcast struct {
	waiting atomic.Pointer[chan struct{}]
}

// wait returns a channel that the next signal closes. What is to be waited for
// must be looked at after the call, so that no signal falls between.
func (b *broadcast) wait() <-chan struct{} {
	for {
		if ch := b.waiting.Load(); ch != nil {
			return *ch
		}
		ch := make(chan struct{})
		if b.waiting.CompareAndSwap(nil, &ch) {
			return ch
		}
	}
}

// signal wakes everyone who has called wait since the last signal.
func (b *broadcast) signal() {
	if b.waiting.Load() == nil {
		return
	}
	if ch := b.waiting.Swap(nil); ch != nil {
		close(*ch)
	}
}
