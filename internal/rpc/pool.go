package rpc

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

// Pool is one gRPC client of thousands of servers. To gRPC they are the addresses
// of one service between which a balancer chooses, and a call names its own: so a
// server costs its connection only, and not a resolver, a balancer and their
// goroutines.
type Pool struct {
	conn *grpc.ClientConn
	// built is closed when connections can be made, by channel.
	built   chan struct{}
	once    sync.Once
	channel balancer.ClientConn
	// closed ends what waits for a connection.
	closed chan struct{}
}

// NewPool returns a pool; options are those of Dial.
func NewPool(opts ...grpc.DialOption) (*Pool, error) {
	p := &Pool{built: make(chan struct{}), closed: make(chan struct{})}
	r := manual.NewBuilderWithScheme("casemate-pool")
	r.InitialState(resolver.State{Attributes: attributes.New(poolKey{}, p)})
	conn, err := Dial(r.Scheme()+":///pool", append([]grpc.DialOption{
		grpc.WithResolvers(r), grpc.WithIdleTimeout(0),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, choiceName)),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	p.conn = conn
	conn.Connect()
	return p, nil
}

// Dial returns the connection to host:port or unix:///path. As that of the other
// Dial it connects when it is used, and again.
func (p *Pool) Dial(address string) *Peer { return &Peer{pool: p, address: address} }

// Close ends every connection. It is called once.
func (p *Pool) Close() error {
	close(p.closed)
	return p.conn.Close()
}

func (p *Pool) build(cc balancer.ClientConn) {
	p.once.Do(func() {
		p.channel = cc
		close(p.built)
	})
}

type (
	poolKey struct{}
	peerKey struct{}
)

// choiceName names the balancer in the service config of a pool.
const choiceName = "casemate_pool"

// choice is the balancer of pools, and its builder.
type choice struct{ cc balancer.ClientConn }

// gRPC takes balancers before anything runs, and by name.
func init() { balancer.Register(choice{}) }

// Name implements balancer.Builder.
func (choice) Name() string { return choiceName }

// Build implements balancer.Builder.
func (choice) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return choice{cc}
}

// UpdateClientConnState tells the pool that it may connect.
func (c choice) UpdateClientConnState(s balancer.ClientConnState) error {
	p, ok := s.ResolverState.Attributes.Value(poolKey{}).(*Pool)
	if !ok {
		return balancer.ErrBadResolverState
	}
	pickAgain(c.cc)
	p.build(c.cc)
	return nil
}

// pickAgain makes calls that wait for a connection look again.
func pickAgain(cc balancer.ClientConn) {
	cc.UpdateState(balancer.State{ConnectivityState: connectivity.Ready, Picker: picker{}})
}

// ResolverError implements balancer.Balancer; the resolver of a pool has none.
func (choice) ResolverError(error) {}

// UpdateSubConnState implements balancer.Balancer; each connection has a listener.
func (choice) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// Close implements balancer.Balancer.
func (choice) Close() {}

// ExitIdle implements balancer.Balancer; a pool is never idle.
func (choice) ExitIdle() {}

// picker takes the connection of the peer that a call is for. Calls come when it
// is ready; what is lost in that moment fails.
type picker struct{}

// Pick implements balancer.Picker.
func (picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	peer, ok := info.Ctx.Value(peerKey{}).(*Peer)
	if !ok {
		return balancer.PickResult{}, status.Error(codes.Internal, "the call names no peer")
	}
	now := peer.now()
	if now.state != connectivity.Ready {
		return balancer.PickResult{}, now.failure(peer.address)
	}
	return balancer.PickResult{SubConn: now.conn}, nil
}

// errClosed is what calls on a closed connection get.
var errClosed = errors.New("the connection is closed")

// failure is the error of calls that can't be made.
func (s peerState) failure(address string) error {
	err := s.err
	if err == nil {
		err = errors.New("the connection was lost")
	}
	return status.Errorf(codes.Unavailable, "connect to %s: %v", address, err)
}

// authority is what a server is told that it is called.
func authority(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return "localhost"
	}
	return address
}
