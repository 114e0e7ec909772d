package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/attested"
)

// Defaults of a Config.
const (
	// DefaultIdle is how long a connection may rest in both directions: a model can
	// think for minutes before its first word.
	DefaultIdle = 15 * time.Minute
	// DefaultGrace is how long connections may go on once the tunnel is to end.
	DefaultGrace = 5 * time.Second
	// DefaultConnections is how many connections there may be at a time; more wait.
	DefaultConnections = 256
)

// openTimeout bounds opening one connection with all verdicts that it needs.
const openTimeout = time.Minute

// Dialer makes connections to the enclave, as *attested.Dialer does.
type Dialer interface {
	// Dial makes a connection that ends in the attested enclave, or says why not.
	Dial(ctx context.Context) (*attested.Conn, error)
	// Verify gets a new verdict and returns why it refuses, or why there is none.
	Verify(ctx context.Context) error
}

// Config says what to listen on and where connections go.
type Config struct {
	// Listener takes the connections of this machine. Run closes it.
	Listener net.Listener
	// Dialer makes the connections to the enclave.
	Dialer Dialer
	// Again asks for a new verdict each time something comes from it; nil asks for
	// none but those that new connections need.
	Again <-chan time.Time
	// Refused is told why a connection came to nothing, or a new verdict did.
	Refused func(error)
	// Idle, Grace and Connections are bounds; 0 means the defaults.
	Idle, Grace time.Duration
	Connections int
}

// Tunnel passes connections on.
type Tunnel struct {
	cfg  Config
	work sync.WaitGroup
	// room has a place for each connection.
	room chan struct{}

	mu    sync.Mutex
	open  map[*pair]struct{}
	ended bool
}

// New checks the configuration and returns a Tunnel.
func New(cfg Config) (*Tunnel, error) {
	if cfg.Listener == nil || cfg.Dialer == nil || cfg.Refused == nil {
		return nil, errors.New("tunnel: Listener, Dialer and Refused are required")
	}
	if cfg.Idle < 0 || cfg.Grace < 0 || cfg.Connections < 0 {
		return nil, errors.New("tunnel: bounds must not be negative")
	}
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Connections == 0 {
		cfg.Connections = DefaultConnections
	}
	return &Tunnel{cfg: cfg, room: make(chan struct{}, cfg.Connections), open: map[*pair]struct{}{}}, nil
}

// Run passes connections on until ctx ends or the listener fails. It then takes no
// more, gives those that are open the grace time, cuts what is left, and returns
// when nothing runs any more. The end of ctx is no error. Run is called once.
func (t *Tunnel) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = t.cfg.Listener.Close() })
	defer stop()
	// Connections outlive ctx by the grace time.
	lasting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	watching, endWatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { t.verifyAgain(watching) })
	err := t.accept(ctx, lasting)
	_ = t.cfg.Listener.Close()
	endWatch()
	watch.Wait()
	t.drain(cut)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept takes connections until the listener is closed.
func (t *Tunnel) accept(ctx, lasting context.Context) error {
	for {
		select {
		case t.room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		near, err := t.cfg.Listener.Accept()
		if err != nil {
			<-t.room
			return fmt.Errorf("take a connection: %w", err)
		}
		t.work.Go(func() {
			defer func() { <-t.room }()
			t.serve(lasting, near)
		})
	}
}

// serve carries one connection from its beginning to its end.
func (t *Tunnel) serve(ctx context.Context, near net.Conn) {
	far, err := t.dial(ctx)
	if err != nil {
		reset(near)
		_ = near.Close()
		if ctx.Err() == nil {
			t.cfg.Refused(err)
		}
		return
	}
	p := &pair{near: near, far: far, key: far.Key}
	if !t.add(p) {
		p.cut()
		return
	}
	defer t.remove(p)
	p.carry(t.cfg.Idle)
}

func (t *Tunnel) dial(ctx context.Context) (*attested.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return t.cfg.Dialer.Dial(ctx)
}

func (t *Tunnel) add(p *pair) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.open[p] = struct{}{}
	return true
}

func (t *Tunnel) remove(p *pair) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, p)
}

// drain waits for what is open, and cuts it when the grace time is over.
func (t *Tunnel) drain(cut context.CancelFunc) {
	timer := time.AfterFunc(t.cfg.Grace, func() {
		cut()
		t.cutAll(nil)
	})
	t.work.Wait()
	timer.Stop()
}

// Cut ends the connections to the enclave with this key.
func (t *Tunnel) Cut(key [32]byte) { t.cutAll(&key) }

// cutAll cuts the connections with a key; nil means all, and that no more begin.
func (t *Tunnel) cutAll(key *[32]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if key == nil {
		t.ended = true
	}
	for p := range t.open {
		if key == nil || p.key == *key {
			p.cut()
		}
	}
}

// verifyAgain gets a new verdict whenever it is time, so that the connections that
// are open don't rest on an old one.
func (t *Tunnel) verifyAgain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.cfg.Again:
		}
		asking, cancel := context.WithTimeout(ctx, openTimeout)
		err := t.cfg.Dialer.Verify(asking)
		cancel()
		if err != nil && ctx.Err() == nil {
			t.cfg.Refused(err)
		}
	}
}
