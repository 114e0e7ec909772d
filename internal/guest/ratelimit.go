package guest

import (
	"net"
	"sync"
	"time"
)

// maxCallers bounds the callers whose rate is known one by one; the others of a
// crowd share one allowance.
const maxCallers = 4096

// sweepInterval keeps a crowd from making every request a walk over all callers.
const sweepInterval = time.Second

// limiter is a token bucket per caller address.
type limiter struct {
	rate  float64 // tokens a second; 0 lets everything through
	burst float64
	clock Clock

	mu      sync.Mutex
	callers map[string]*bucket
	swept   time.Time // when full buckets were last forgotten
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(rate float64, burst int, clock Clock) *limiter {
	return &limiter{rate: rate, burst: max(1, float64(burst)), clock: clock, callers: map[string]*bucket{}}
}

// allow takes a token of the caller's, if there is one.
func (l *limiter) allow(remote string) bool {
	if l.rate <= 0 {
		return true
	}
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	b := l.bucketOf(host, now)
	l.refill(b, now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (l *limiter) refill(b *bucket, now time.Time) {
	b.tokens = min(l.burst, b.tokens+max(0, now.Sub(b.at).Seconds())*l.rate)
	b.at = now
}

func (l *limiter) bucketOf(host string, now time.Time) *bucket {
	if b := l.callers[host]; b != nil {
		return b
	}
	if len(l.callers) >= maxCallers && now.Sub(l.swept) >= sweepInterval {
		l.forgetFull(now)
	}
	if len(l.callers) >= maxCallers {
		host = "" // the crowd's
		if b := l.callers[host]; b != nil {
			return b
		}
	}
	b := &bucket{tokens: l.burst, at: now}
	l.callers[host] = b
	return b
}

// forgetFull drops callers whose bucket is full again: they lose nothing.
func (l *limiter) forgetFull(now time.Time) {
	l.swept = now
	for host, b := range l.callers {
		l.refill(b, now)
		if b.tokens >= l.burst {
			delete(l.callers, host)
		}
	}
}
