package gateway

import "sync"

// closeBatch is how many sockets are closed at a time.
const closeBatch = 128

// closeQueue has the sockets of connections that have ended in order. Their peers
// see both streams ended; the descriptors are closed later and many at once,
// because the scheduler is told of each close, and that is dear (calls.go).
type closeQueue struct {
	mu      sync.Mutex
	sockets []*socket
}

// add takes the sockets of one connection.
func (q *closeQueue) add(client, backend *socket) {
	q.mu.Lock()
	q.sockets = append(q.sockets, client, backend)
	full := len(q.sockets) >= closeBatch
	q.mu.Unlock()
	if full {
		q.flush()
	}
}

// flush closes what is in the queue.
func (q *closeQueue) flush() {
	q.mu.Lock()
	sockets := q.sockets
	q.sockets = nil
	q.mu.Unlock()
	for _, s := range sockets {
		s.Close()
	}
}
