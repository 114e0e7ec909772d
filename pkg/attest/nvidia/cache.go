package nvidia

import (
	"container/list"
	"sync"
	"time"
)

// cache keeps facts that were verified, by digest of all that they depend on. The
// facts don't depend on the time, which is compared anew with each use. It is
// bounded, forgets what was used least recently, and drops an entry when it is
// asked for after its expiry. Failures are not kept.
type cache[V any] struct {
	mu      sync.Mutex
	max     int
	entries map[digest]*list.Element
	order   *list.List // most recently used first
}

type cacheEntry[V any] struct {
	key     digest
	value   V
	expires time.Time
}

func newCache[V any](max int) *cache[V] {
	return &cache[V]{max: max, entries: make(map[digest]*list.Element, max), order: list.New()}
}

// get returns the value of a key that has not expired at that time.
func (c *cache[V]) get(key digest, at time.Time) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, found := c.entries[key]
	if !found {
		return v, false
	}
	e := el.Value.(*cacheEntry[V])
	if at.After(e.expires) {
		c.drop(el)
		return v, false
	}
	c.order.MoveToFront(el)
	return e.value, true
}

func (c *cache[V]) put(key digest, v V, expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, found := c.entries[key]; found {
		c.drop(el)
	}
	for c.order.Len() >= c.max {
		c.drop(c.order.Back())
	}
	c.entries[key] = c.order.PushFront(&cacheEntry[V]{key, v, expires})
}

func (c *cache[V]) drop(el *list.Element) {
	delete(c.entries, el.Value.(*cacheEntry[V]).key)
	c.order.Remove(el)
}

func (c *cache[V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
