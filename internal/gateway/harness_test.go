package gateway

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	testCluster = "cluster-a"
	testDomain  = "api.example.org"
	patience    = 2 * time.Minute // for things that must happen; never waited out in a pass
)

// certificate is valid for every name under example.org.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"*.example.org"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func clientTLS(name string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(certificate().Leaf)
	return &tls.Config{ServerName: name, RootCAs: roots}
}

// enclave is a TLS server that greets with its id, then echoes lines.
type enclave struct {
	id       string
	listener net.Listener
	accepted atomic.Int64
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
}

func newEnclave(t *testing.T, id string) *enclave {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &enclave{id: id, listener: l, conns: map[net.Conn]bool{}}
	e.wg.Go(e.serve)
	t.Cleanup(e.stop)
	return e
}

func (e *enclave) addr() string { return e.listener.Addr().String() }

func (e *enclave) serve() {
	for {
		c, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.accepted.Add(1)
		e.mu.Lock()
		e.conns[c] = true
		e.mu.Unlock()
		e.wg.Go(func() {
			e.handle(c)
			c.Close()
			e.mu.Lock()
			delete(e.conns, c)
			e.mu.Unlock()
		})
	}
}

// handle greets, then echoes until the client's end.
func (e *enclave) handle(c net.Conn) {
	t := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	if _, err := fmt.Fprintf(t, "%s\n", e.id); err != nil {
		return
	}
	if _, err := io.Copy(t, t); err == nil {
		_ = t.CloseWrite()
	}
}

// cut resets every connection of the enclave.
func (e *enclave) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

func (e *enclave) stop() {
	e.listener.Close()
	e.cut()
	e.wg.Wait()
}

// route leads to the enclave.
func (e *enclave) route(generation int64) Route {
	return Route{Domain: testDomain, Generation: generation, State: Serving, Enclave: e.id, Endpoint: e.addr(), Container: "api"}
}

// quietLog drops what is logged: tests look at counts, not at texts.
func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newRoutes(t *testing.T, routes ...Route) *Routes {
	t.Helper()
	r, err := OpenRoutes(RoutesConfig{Logger: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) > 0 {
		apply(t, r, routes...)
	}
	return r
}

// apply puts routes into force and fails the test if one is refused.
func apply(t *testing.T, r *Routes, routes ...Route) Ack {
	t.Helper()
	ack, err := r.Apply(t.Context(), Batch{ClusterID: testCluster, Epoch: 1, Routes: routes})
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	if len(ack.Refused) > 0 {
		t.Fatalf("routes refused: %+v", ack.Refused)
	}
	return ack
}

// gate is a running server of a test.
type gate struct {
	*Server
	addr string
	stop func() error
}

// serve runs a gateway until the test ends. No time of its own ends what the test
// has not given one, however slow the machine is.
func serve(t *testing.T, cfg Config) *gate {
	t.Helper()
	if len(cfg.Listeners) == 0 {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	cfg.Logger = quietLog()
	cfg.HelloTimeout = cmp.Or(cfg.HelloTimeout, patience)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, patience)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 50*time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	s, err := New(ctx, cfg)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	g := &gate{Server: s, addr: s.Addrs()[0].String()}
	g.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("the gateway did not stop")
		}
	})
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return g
}

// session is a client's TLS connection through the gateway.
type session struct {
	*tls.Conn
	lines *bufio.Reader
	id    string // of the enclave that answered
}

func (g *gate) connect(name string) (*session, error) {
	return connectTo(g.addr, name)
}

func connectTo(addr, name string) (*session, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: clientTLS(name)}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &session{Conn: c.(*tls.Conn), lines: bufio.NewReader(c)}
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	line, err := s.lines.ReadString('\n')
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("greeting: %w", err)
	}
	s.id = strings.TrimSpace(line)
	return s, nil
}

func (g *gate) mustConnect(t *testing.T, name string) *session {
	t.Helper()
	s, err := g.connect(name)
	if err != nil {
		t.Fatalf("connect to %s: %v", name, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ask sends a line and checks that it comes back.
func (s *session) ask(text string) error {
	if _, err := fmt.Fprintf(s, "%s\n", text); err != nil {
		return err
	}
	line, err := s.lines.ReadString('\n')
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(line); got != text {
		return fmt.Errorf("asked %q, got %q", text, got)
	}
	return nil
}

// leave ends the session as a client does that waits for the answer to its
// goodbye: one that does not is answered with a reset, by its own kernel.
func (s *session) leave(t *testing.T) {
	t.Helper()
	if err := s.CloseWrite(); err != nil {
		t.Errorf("leave: %v", err)
	}
	if _, err := s.lines.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("leave: %v, want the end of the stream", err)
	}
	s.Close()
}

// eventually polls a condition that has no event to wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}
