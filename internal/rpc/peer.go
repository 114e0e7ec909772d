package rpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

// Peer is the connection to one server of a Pool. A call waits while it is being
// connected, and fails at once in the pause after an attempt that failed.
type Peer struct {
	pool    *Pool
	address string

	mu   sync.Mutex
	peer peerState
	// changed is closed at the next change; nil if nobody waits for it.
	changed chan struct{}
}

type peerState struct {
	// conn is nil before the first call.
	conn  balancer.SubConn
	state connectivity.State
	err   error
}

var _ grpc.ClientConnInterface = (*Peer)(nil)

// Invoke implements grpc.ClientConnInterface.
func (p *Peer) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if err := p.await(ctx); err != nil {
		return err
	}
	return p.pool.conn.Invoke(context.WithValue(ctx, peerKey{}, p), method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (p *Peer) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := p.await(ctx); err != nil {
		return nil, err
	}
	return p.pool.conn.NewStream(context.WithValue(ctx, peerKey{}, p), desc, method, opts...)
}

// Close ends the connection; it can't be used again.
func (p *Peer) Close() error {
	p.mu.Lock()
	conn := p.peer.conn
	p.set(peerState{conn, connectivity.Shutdown, errClosed})
	p.mu.Unlock()
	if conn != nil {
		conn.Shutdown()
	}
	return nil
}

func (p *Peer) now() peerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peer
}

// await returns when the server is connected.
func (p *Peer) await(ctx context.Context) error {
	if err := p.wait(ctx, p.pool.built); err != nil {
		return err
	}
	for {
		now, changed, err := p.look()
		if err != nil {
			return err
		}
		switch now.state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return now.failure(p.address)
		case connectivity.Idle:
			now.conn.Connect()
		}
		if err := p.wait(ctx, changed); err != nil {
			return err
		}
	}
}

func (p *Peer) wait(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-p.pool.closed:
		return peerState{err: errClosed}.failure(p.address)
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// look returns the state, and what is closed when there is another. It makes the
// connection if there is none yet.
func (p *Peer) look() (peerState, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peer.conn == nil && p.peer.state != connectivity.Shutdown {
		address := resolver.Address{Addr: p.address, ServerName: authority(p.address)}
		conn, err := p.pool.channel.NewSubConn([]resolver.Address{address}, balancer.NewSubConnOptions{StateListener: p.listen}) //nolint:staticcheck // what will go is several addresses a connection; this has one
		if err != nil {
			return peerState{}, nil, peerState{err: err}.failure(p.address)
		}
		p.peer.conn = conn
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.peer, p.changed, nil
}

// listen hears from gRPC how the connection is.
func (p *Peer) listen(s balancer.SubConnState) {
	p.mu.Lock()
	was := p.peer.state
	if was != connectivity.Shutdown {
		p.set(peerState{p.peer.conn, s.ConnectivityState, s.ConnectionError})
	}
	p.mu.Unlock()
	if was == connectivity.Ready {
		// A call may have chosen the connection in the moment in which it was lost.
		pickAgain(p.pool.channel)
	}
}

// set changes the state and tells who waits; p.mu is held.
func (p *Peer) set(s peerState) {
	p.peer = s
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
