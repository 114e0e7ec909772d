package tunnel_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/internal/cli/tunnel"
	"github.com/casemate-dev/casemate/pkg/enclave/attested"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what tests wait for; nothing takes nearly as long.
const patience = 30 * time.Second

var errRefused = errors.New("refused: key_binding")

// enclave is the far end: a TLS server that does with a connection what a test says.
type enclave struct {
	listener net.Listener
	key      [32]byte
	// dialled gets something for each connection.
	dialled chan struct{}

	mu       sync.Mutex
	refuses  error
	verdicts int
	verified chan struct{}
}

func newEnclave(t *testing.T, serve func(*tls.Conn)) *enclave {
	t.Helper()
	donor := httptest.NewUnstartedServer(nil)
	donor.StartTLS()
	cert := donor.TLS.Certificates[0]
	donor.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	e := &enclave{listener: l, key: [32]byte{1}, dialled: make(chan struct{}, 64), verified: make(chan struct{}, 64)}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer func() { _ = c.Close() }()
				if server, ok := c.(*tls.Conn); ok && server.HandshakeContext(t.Context()) == nil {
					serve(server)
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return e
}

// echo gives back what comes.
func echo(c *tls.Conn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

func (e *enclave) Dial(ctx context.Context) (*attested.Conn, error) {
	e.mu.Lock()
	refuses := e.refuses
	e.mu.Unlock()
	defer func() { e.dialled <- struct{}{} }()
	if refuses != nil {
		return nil, refuses
	}
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} //nolint:gosec // the test's own
	c, err := d.DialContext(ctx, "tcp", e.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*tls.Conn)
	if !ok {
		return nil, errors.New("no TLS")
	}
	return &attested.Conn{Conn: conn, Key: e.key}, nil
}

func (e *enclave) Verify(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.verdicts++
	e.verified <- struct{}{}
	return e.refuses
}

func (e *enclave) refuse(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuses = err
}

// running is a tunnel that runs.
type running struct {
	*tunnel.Tunnel
	addr string
	// end stops it, ended gives what Run returned.
	end     context.CancelFunc
	ended   chan error
	reasons chan error
}

func run(t *testing.T, e *enclave, edit func(*tunnel.Config)) *running {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{addr: l.Addr().String(), ended: make(chan error, 1), reasons: make(chan error, 64)}
	cfg := tunnel.Config{Listener: l, Dialer: e, Refused: func(err error) { r.reasons <- err }, Grace: patience, Idle: patience}
	if edit != nil {
		edit(&cfg)
	}
	if r.Tunnel, err = tunnel.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(func() { cancel(); r.wantEnd(t) })
	return r
}

// wantEnd wants Run to return, without an error.
func (r *running) wantEnd(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("the tunnel ended with %v", err)
		}
		r.ended <- nil
	case <-time.After(2 * patience):
		t.Fatal("the tunnel does not end")
	}
}

// wantTurnedAway wants a new connection to be reset, at once or a little later.
func (r *running) wantTurnedAway(t *testing.T) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	wantReset(t, c)
}

func (r *running) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP")
	}
	t.Cleanup(func() { _ = tcp.Close() })
	if err := tcp.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return tcp
}

func wantEcho(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

// wantReset wants a connection to end, and not in order.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); err == nil || n > 0 {
		t.Errorf("%d bytes came, then %v; want the connection reset", n, err)
	} else if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Error("the connection stays open")
	}
}

func TestBytesPassBothWaysAndEndsAreEnds(t *testing.T) {
	r := run(t, newEnclave(t, echo), nil)
	c := r.dial(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, %v; want the %d that were sent", len(got), err, len(sent))
	}
}

func TestARefusalPassesNothingAndIsTold(t *testing.T) {
	e := newEnclave(t, echo)
	e.refuse(errRefused)
	r := run(t, e, nil)
	r.wantTurnedAway(t)
	if err := <-r.reasons; !errors.Is(err, errRefused) {
		t.Errorf("the reason told is %v", err)
	}
	e.refuse(nil)
	wantEcho(t, r.dial(t), "it goes on")
}

func TestAConnectionThatBreaksDoesNotEndInOrder(t *testing.T) {
	e := newEnclave(t, func(c *tls.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		if tcp, ok := c.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	})
	c := run(t, e, nil).dial(t)
	if _, err := io.WriteString(c, "?"); err != nil {
		t.Fatal(err)
	}
	wantReset(t, c)
}

func TestOnlyTheConnectionsOfAKeyAreCut(t *testing.T) {
	e := newEnclave(t, echo)
	r := run(t, e, nil)
	c := r.dial(t)
	wantEcho(t, c, "before")
	r.Cut([32]byte{2})
	wantEcho(t, c, "another key was cut")
	r.Cut(e.key)
	wantReset(t, c)
}

func TestANewVerdictIsAskedForWhenItIsTime(t *testing.T) {
	e := newEnclave(t, echo)
	again := make(chan time.Time)
	r := run(t, e, func(c *tunnel.Config) { c.Again = again })
	again <- time.Time{}
	<-e.verified
	e.refuse(errRefused)
	again <- time.Time{}
	if err := <-r.reasons; !errors.Is(err, errRefused) {
		t.Errorf("the reason told is %v", err)
	}
}

func TestTheEndWaitsForOpenConnections(t *testing.T) {
	r := run(t, newEnclave(t, echo), nil)
	c := r.dial(t)
	wantEcho(t, c, "begun")
	r.end()
	for { // the listener closes soon
		late, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.addr)
		if err != nil {
			break
		}
		_ = late.Close()
	}
	wantEcho(t, c, "goes on")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the end is %v", err)
	}
	_ = c.Close()
	r.wantEnd(t)
}

func TestWhatDoesNotEndIsCutAfterTheGraceTime(t *testing.T) {
	r := run(t, newEnclave(t, echo), func(c *tunnel.Config) { c.Grace = 10 * time.Millisecond })
	c := r.dial(t)
	wantEcho(t, c, "begun")
	r.end()
	wantReset(t, c)
	r.wantEnd(t)
}

func TestAConnectionThatRestsTooLongIsCut(t *testing.T) {
	r := run(t, newEnclave(t, echo), func(c *tunnel.Config) { c.Idle = 20 * time.Millisecond })
	r.wantTurnedAway(t)
}

func TestMoreConnectionsThanThereIsRoomForWait(t *testing.T) {
	e := newEnclave(t, echo)
	r := run(t, e, func(c *tunnel.Config) { c.Connections = 1 })
	first := r.dial(t)
	wantEcho(t, first, "in")
	<-e.dialled
	second := r.dial(t)
	if _, err := io.WriteString(second, "waits"); err != nil {
		t.Fatal(err)
	}
	wantEcho(t, first, "still the only one")
	if len(e.dialled) > 0 {
		t.Error("a second connection was made")
	}
	_ = first.Close()
	got := make([]byte, len("waits"))
	if _, err := io.ReadFull(second, got); err != nil {
		t.Errorf("the second never gets its turn: %v", err)
	}
}

func TestTunnelsThatMakeNoSenseAreRefused(t *testing.T) {
	e := newEnclave(t, echo)
	refused := func(error) {}
	for rule, cfg := range map[string]tunnel.Config{
		"nothing":      {},
		"no dialer":    {Listener: e.listener, Refused: refused},
		"no one told":  {Listener: e.listener, Dialer: e},
		"negative":     {Listener: e.listener, Dialer: e, Refused: refused, Idle: -1},
		"less than no": {Listener: e.listener, Dialer: e, Refused: refused, Connections: -1},
	} {
		if _, err := tunnel.New(cfg); err == nil {
			t.Errorf("%s: it was taken", rule)
		}
	}
}
