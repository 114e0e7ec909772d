package guest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// callers knows the server's connections. http.Server.Shutdown alone is not
// enough to lose no request: it closes a connection on which a request arrives
// after it was called, even if the connection was there before.
type callers struct {
	mu      sync.Mutex
	silent  map[net.Conn]bool // whether no request came on it yet
	changed chan struct{}
}

func newCallers() *callers {
	return &callers{silent: map[net.Conn]bool{}, changed: make(chan struct{})}
}

// track is the server's ConnState.
func (c *callers) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(c.silent, conn)
	default:
		c.silent[conn] = state == http.StateNew
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// left is how many connections there are, and what is closed when that changes.
func (c *callers) left() (int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.silent), c.changed
}

// closeSilent closes the connections on which no request came.
func (c *callers) closeSilent() {
	c.mu.Lock()
	var silent []net.Conn
	for conn, s := range c.silent {
		if s {
			silent = append(silent, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range silent {
		_ = conn.Close() // its server notices
	}
}

// wait returns when nobody is left, or when ctx ends. Who has said nothing is
// waited for as long as the patience given.
func (c *callers) wait(ctx context.Context, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		left, changed := c.left()
		if left == 0 {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			c.closeSilent()
		case <-ctx.Done():
			return
		}
	}
}
