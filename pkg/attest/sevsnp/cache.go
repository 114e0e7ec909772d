package sevsnp

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// chainKey is the SHA-256 of everything a chain's facts depend on, each part with
// its length before it. The roots are the verifier's own and never change.
type chainKey [sha256.Size]byte

func keyOf(kind KeyKind, ev *Evidence) chainKey {
	h := sha256.New()
	var head [25]byte
	head[0] = byte(kind)
	for i, part := range [...][]byte{ev.VEK, ev.Chain, ev.CRL} {
		binary.LittleEndian.PutUint64(head[1+8*i:], uint64(len(part)))
	}
	h.Write(head[:])
	h.Write(ev.VEK)
	h.Write(ev.Chain)
	h.Write(ev.CRL)
	var k chainKey
	h.Sum(k[:0])
	return k
}

// chainCache keeps the facts of verified chains, the least recently used dropped
// first. Failures are not kept. It is safe for concurrent use.
type chainCache struct {
	mu    sync.Mutex
	size  int
	order *list.List // of *cacheEntry, most recently used first
	byKey map[chainKey]*list.Element
}

type cacheEntry struct {
	key   chainKey
	facts *facts
}

func newChainCache(size int) *chainCache {
	return &chainCache{size: size, order: list.New(), byKey: make(map[chainKey]*list.Element)}
}

// get returns the facts under key. Facts that have expired at the given time are
// dropped and not returned.
func (c *chainCache) get(key chainKey, at time.Time) *facts {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return nil
	}
	f := e.Value.(*cacheEntry).facts
	if f.expired(at) {
		c.drop(e)
		return nil
	}
	c.order.MoveToFront(e)
	return f
}

// put keeps facts, unless they have expired. A newer revocation list drops all that
// was verified with an older list of the same issuer, or with none.
func (c *chainCache) put(key chainKey, f *facts, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size <= 0 || f.expired(at) {
		return
	}
	if f.crl != nil {
		c.dropOlder(f)
	}
	if e, ok := c.byKey[key]; ok {
		c.drop(e)
	}
	c.byKey[key] = c.order.PushFront(&cacheEntry{key, f})
	for c.order.Len() > c.size {
		c.drop(c.order.Back())
	}
}

// forget drops what was verified under a root with no list, or with an older one than
// that which has now revoked a certificate of the root's.
func (c *chainCache) forget(revoked *facts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropOlder(revoked)
}

func (c *chainCache) dropOlder(f *facts) {
	for e := c.order.Front(); e != nil; {
		next := e.Next()
		old := e.Value.(*cacheEntry).facts
		if old.rootName == f.rootName && (old.crl == nil || old.crl.from.Before(f.crl.from)) {
			c.drop(e)
		}
		e = next
	}
}

func (c *chainCache) drop(e *list.Element) {
	delete(c.byKey, e.Value.(*cacheEntry).key)
	c.order.Remove(e)
}

func (c *chainCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
