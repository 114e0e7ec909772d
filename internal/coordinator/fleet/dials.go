package fleet

import (
	"context"
	"sync"
	"time"
)

const (
	// dialsAtOnce is how many hosts are connected to at a time. A coordinator that
	// starts has a whole fleet to reach. So many take it less than a second on a
	// machine that is its own, and the 5 s after which gRPC gives an attempt up on
	// one that is far too busy; and there are enough for a rack or two that is cut
	// off to hold up nobody else.
	dialsAtOnce = 512
	// dialPatience is how long a host may take to tell of all it has until another
	// one is dialled beside it: longer than gRPC waits for a connection.
	dialPatience = 6 * time.Second
)

// dials has a place for each host that is being connected to. Whoever waits gets
// one in turn.
type dials chan struct{}

// begin waits for a place, which is given back by done, or after dialPatience.
func (d dials) begin(ctx context.Context) (done func(), err error) {
	select {
	case d <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	leave := sync.OnceFunc(func() { <-d })
	late := time.AfterFunc(dialPatience, leave)
	return func() {
		late.Stop()
		leave()
	}, nil
}
