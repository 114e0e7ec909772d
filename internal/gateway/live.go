package gateway

import "sync"

// live is the set of open connections, for what has to look at all of them.
type live struct {
	mu sync.Mutex
	// conns tells of each connection whether it is joined.
	conns map[*conn]bool
	// up and down are the bytes moved by connections that have ended.
	up, down int64
}

func (l *live) add(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = false
}

// join marks a connection whose sockets are both set.
func (l *live) join(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = true
}

func (l *live) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.up += c.up.moved.Load()
	l.down += c.down.moved.Load()
}

// bytes are those moved so far, towards the enclaves and towards the clients.
func (l *live) bytes() (up, down int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	up, down = l.up, l.down
	for c := range l.conns {
		up += c.up.moved.Load()
		down += c.down.moved.Load()
	}
	return up, down
}

// split lists the connections that are joined, and those that are not yet.
func (l *live) split() (joined, opening []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, isJoined := range l.conns {
		if isJoined {
			joined = append(joined, c)
		} else {
			opening = append(opening, c)
		}
	}
	return joined, opening
}

// closeAll ends every connection.
func (l *live) closeAll() {
	joined, opening := l.split()
	for _, c := range joined {
		c.abort(outcomeStopped)
	}
	for _, c := range opening {
		c.client.Close() // its goroutine notices
	}
}
