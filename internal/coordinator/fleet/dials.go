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

// dials has a place for each host that is being connected to. Hosts that are likely
// to answer go before those that are known not to, which get every fourth place as
// long as others wait, and all of them otherwise; among either the one that has
// waited longest is next. So a host that is likely to answer waits for three
// quarters of the places and its equals only, however many others are cut off.
type dials struct {
	mu   sync.Mutex
	free int
	// given counts the places that were given while both kinds waited.
	given            int
	likely, unlikely []*turn
}

// turn is one host's wait for a place. It is over when it has got one, which closes
// come, or waits no longer.
type turn struct {
	come chan struct{}
	over bool
}

// fairness is how often a host that is known not to answer goes before the others.
const fairness = 4

func newDials(places int) *dials { return &dials{free: places} }

// begin waits for a place, which is given back by done, or after dialPatience.
// likely says that the host answers as far as is known.
func (d *dials) begin(ctx context.Context, likely bool) (done func(), err error) {
	t := d.line(likely)
	select {
	case <-t.come:
	case <-ctx.Done():
		d.leave(t)
		return nil, ctx.Err()
	}
	back := sync.OnceFunc(d.giveBack)
	late := time.AfterFunc(dialPatience, back)
	return func() {
		late.Stop()
		back()
	}, nil
}

func (d *dials) line(likely bool) *turn {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &turn{come: make(chan struct{})}
	if likely {
		d.likely = append(d.likely, t)
	} else {
		d.unlikely = append(d.unlikely, t)
	}
	d.give()
	return t
}

// leave ends a wait; a place that was got meanwhile is given back.
func (d *dials) leave(t *turn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.over {
		d.free++
		d.give()
	}
	t.over = true
}

func (d *dials) giveBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free++
	d.give()
}

// give gives the places that are free; d.mu is held.
func (d *dials) give() {
	for d.free > 0 {
		t := d.next()
		if t == nil {
			return
		}
		d.free--
		t.over = true
		close(t.come)
	}
}

// next takes the host whose turn it is; nil if none waits. d.mu is held.
func (d *dials) next() *turn {
	d.likely, d.unlikely = waiting(d.likely), waiting(d.unlikely)
	from := &d.likely
	switch {
	case len(d.likely) == 0:
		from = &d.unlikely
	case len(d.unlikely) > 0:
		if d.given++; d.given%fairness == 0 {
			from = &d.unlikely
		}
	}
	if len(*from) == 0 {
		return nil
	}
	t := (*from)[0]
	*from = (*from)[1:]
	return t
}

// waiting is a line from the first that still waits on.
func waiting(line []*turn) []*turn {
	for len(line) > 0 && line[0].over {
		line = line[1:]
	}
	return line
}
