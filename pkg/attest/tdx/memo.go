package tdx

import (
	"container/list"
	"sync"
	"time"
)

// digest is a SHA-256 that names bytes which were verified.
type digest = [32]byte

// memo keeps verified things by digest, at most limit of them, the longest
// unused dropped first. Only what was verified is put in.
type memo[V any] struct {
	mu    sync.Mutex
	limit int
	order *list.List // of *memoEntry[V], the last used first
	byKey map[digest]*list.Element
}

type memoEntry[V any] struct {
	key   digest
	value V
	until time.Time
}

func newMemo[V any](limit int) *memo[V] {
	return &memo[V]{limit: limit, order: list.New(), byKey: make(map[digest]*list.Element)}
}

// get returns what was kept, unless it has ended by the given time; then it is
// dropped.
func (m *memo[V]) get(key digest, at time.Time) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var none V
	e, ok := m.byKey[key]
	if !ok {
		return none, false
	}
	entry := e.Value.(*memoEntry[V])
	if at.After(entry.until) {
		m.remove(e)
		return none, false
	}
	m.order.MoveToFront(e)
	return entry.value, true
}

// put keeps a verified thing until its end.
func (m *memo[V]) put(key digest, value V, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.byKey[key]; ok {
		m.remove(e)
	}
	m.byKey[key] = m.order.PushFront(&memoEntry[V]{key, value, until})
	if m.order.Len() > m.limit {
		m.remove(m.order.Back())
	}
}

// drop forgets what was kept under a key.
func (m *memo[V]) drop(key digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.byKey[key]; ok {
		m.remove(e)
	}
}

func (m *memo[V]) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.order.Len()
}

func (m *memo[V]) remove(e *list.Element) {
	delete(m.byKey, e.Value.(*memoEntry[V]).key)
	m.order.Remove(e)
}
