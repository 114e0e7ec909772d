package agent

import (
	"sync"
	"time"
)

// bucket bounds how often something is done: burst times at once, then once an
// interval.
type bucket struct {
	now      func() time.Time
	interval time.Duration
	burst    int

	mu   sync.Mutex
	full time.Time // when the bucket is full again
}

// take reports whether it may be done now.
func (b *bucket) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	full := b.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(b.interval)
	if full.Sub(now) > time.Duration(b.burst)*b.interval {
		return false
	}
	b.full = full
	return true
}
