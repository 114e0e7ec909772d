package gateway

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
)

// ipv6Source is the prefix by which IPv6 clients are counted: one subscriber has
// at least a /64 to choose addresses from (RFC 6177).
const ipv6Source = 64

// errSourceLimit: a client has as many connections as one source may have.
var errSourceLimit = errors.New("too many connections from this source")

// limit counts connections, in total and for each source, and refuses those
// above the bounds.
type limit struct {
	max, maxSource int64
	total          atomic.Int64
	shards         [16]limitShard
}

type limitShard struct {
	mu      sync.Mutex
	sources map[netip.Addr]int64
}

func newLimit(total, source int) *limit {
	l := &limit{max: int64(total), maxSource: int64(source)}
	for i := range l.shards {
		l.shards[i].sources = map[netip.Addr]int64{}
	}
	return l
}

// sourceOf is the address under which a client is counted.
func sourceOf(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(ipv6Source); err == nil {
			return p.Addr()
		}
	}
	return a
}

// enter takes a place of the total.
func (l *limit) enter() bool {
	if l.total.Add(1) > l.max {
		l.total.Add(-1)
		return false
	}
	return true
}

func (l *limit) leave() { l.total.Add(-1) }

// enterSource takes a place of the source's.
func (l *limit) enterSource(source netip.Addr) bool {
	s := l.shard(source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources[source] >= l.maxSource {
		return false
	}
	s.sources[source]++
	return true
}

func (l *limit) leaveSource(source netip.Addr) {
	s := l.shard(source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources[source]--; s.sources[source] <= 0 {
		delete(s.sources, source)
	}
}

func (l *limit) shard(source netip.Addr) *limitShard {
	b := source.As16()
	return &l.shards[(b[15]^b[7]^b[6])%uint8(len(l.shards))]
}
