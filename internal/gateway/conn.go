package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// conn is one client's connection, from its acceptance to the end of both
// directions.
type conn struct {
	s      *Server
	client *socket
	// source is the client's address, counted under counted once it is known.
	source  netip.AddrPort
	counted netip.Addr

	// Set once the connection is joined.
	entry    *entry
	up, down relay
	// half is how many directions have ended in order.
	half atomic.Int32
	// kept says that the sweep has set keepalive on the enclave's socket.
	kept bool
	// clientEnded says that the client has ended its stream in order.
	clientEnded atomic.Bool
	end         sync.Once
}

// serve carries the connection up to the point where it is joined, and then
// its way from the client to the enclave.
func (c *conn) serve(ctx context.Context) {
	defer c.recovered()
	if err := c.open(ctx); err != nil {
		c.s.refused(c, err)
		return
	}
	c.s.workers.start(job{c: c, down: true})
	c.carry(&c.up, true)
}

func (c *conn) carryDown() {
	defer c.recovered()
	c.carry(&c.down, false)
}

// recovered keeps a fault in one connection from ending all others.
func (c *conn) recovered() {
	if p := recover(); p != nil {
		c.s.log.Error("fault in a connection", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		c.s.faulted(c)
	}
}

// open reads the hello, finds the enclave, and joins it. If it fails, the
// client's socket is still open.
func (c *conn) open(ctx context.Context) error {
	in := intakes.Get().(*intake)
	defer func() {
		in.release()
		*in = intake{}
		intakes.Put(in)
	}()
	in.proxied = c.s.trusted(c.source.Addr())
	if err := in.read(c.client, c.s.cfg.HelloTimeout); err != nil {
		return &helloError{err}
	}
	if in.source.IsValid() {
		c.source = in.source
	}
	if err := c.countSource(); err != nil {
		return err
	}
	backend, e, err := c.reach(ctx, in.domain())
	if err != nil {
		return err
	}
	return c.join(backend, e, in.hello())
}

// countSource takes the source's place, unless accept has done so already.
func (c *conn) countSource() error {
	if c.counted.IsValid() {
		return nil
	}
	source := sourceOf(c.source.Addr())
	if !c.s.limit.enterSource(source) {
		return errSourceLimit
	}
	c.counted = source
	return nil
}

// reach returns a connection to the enclave that serves the domain, counted in
// the entry it came through. A held route is waited for; a failed dial is
// repeated once, and only if the table has another entry by then.
func (c *conn) reach(ctx context.Context, domain []byte) (*socket, *entry, error) {
	var failed *entry
	var failure error
	var holdUntil time.Time
	for {
		e := c.s.cfg.Routes.Table().lookup(domain)
		switch {
		case e != nil && e == failed:
			return nil, nil, failure
		case e == nil:
			return nil, nil, errNoRoute
		case e.route.State == Closed:
			return nil, nil, errRouteClosed
		case e.route.State == Held:
			if holdUntil.IsZero() {
				holdUntil = time.Now().Add(c.s.holdTimeout(e.route))
			}
			if err := c.s.holds.wait(ctx, e, c.client, c.counted, holdUntil); err != nil {
				return nil, nil, err
			}
			continue
		}
		backend, err := c.s.dial(e)
		if err == nil {
			return backend, e, nil
		}
		if errors.Is(err, errReplaced) {
			continue
		}
		if failure != nil {
			return nil, nil, err
		}
		failed, failure = e, err
	}
}

// join sends what the client has already said and sets up both directions.
func (c *conn) join(backend *socket, e *entry, hello []byte) error {
	err := backend.control(askInq)
	if err == nil && c.s.cfg.SendProxy {
		hello, err = c.withProxyHeader(hello)
	}
	if err != nil {
		backend.Close()
		e.parted()
		return err
	}
	c.entry = e
	c.up.init(c.client, backend, &c.s.pipes)
	c.down.init(backend, c.client, &c.s.pipes)
	c.s.live.join(c)
	// A failure of the write shows in both directions, where it is classified.
	if c.up.to.send(hello) == nil {
		c.up.moved.Add(int64(len(hello)))
	}
	// Whoever cuts the connections to a lost enclave has not seen one that was not
	// joined yet.
	if e.enclave.cut() {
		c.abort(outcomeHostLost)
	}
	return nil
}

func (c *conn) withProxyHeader(hello []byte) ([]byte, error) {
	local, err := c.client.local()
	if err != nil {
		return nil, fmt.Errorf("PROXY header for %s: %w", c.source, err)
	}
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(c.source), net.TCPAddrFromAddrPort(local))
	head, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("PROXY header for %s: %w", c.source, err)
	}
	return append(head, hello...), nil
}

// carry runs one direction to its end. The end of the stream is passed on; the
// second end, or a failure, ends the connection.
func (c *conn) carry(r *relay, fromClient bool) {
	err := r.run()
	if err == nil && !fromClient && c.wasReset(r) {
		err = &relayError{readSide, syscall.ECONNRESET}
	}
	if err == nil {
		if fromClient {
			c.clientEnded.Store(true)
		}
		last := c.half.Add(1) == 2
		err = r.dst.closeWrite()
		if last { // a peer that can't be told any more has ended its own stream before
			c.finish()
			return
		}
		if err == nil {
			return
		}
		err = &relayError{writeSide, err}
	}
	o := relayOutcome(err, fromClient)
	if o == outcomeClientReset && c.clientEnded.Load() {
		o = outcomeOK // it closed, and what came for it afterwards was refused
	}
	c.abort(o)
}

// wasReset tells a reset from the end of a stream. The kernel tells a reset once:
// if the other direction's write has met it, a read finds the stream at its end.
// A socket that nobody has ended on this side is closed by a reset only.
func (c *conn) wasReset(r *relay) bool {
	if c.half.Load() > 0 {
		return false
	}
	state, err := r.src.state()
	// The other direction counts its end before it ends this socket.
	return err == nil && state == tcpClose && c.half.Load() == 0
}
