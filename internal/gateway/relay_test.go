package gateway

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestConnectionReachesTheEnclaveOfItsName(t *testing.T) {
	a, b := newEnclave(t, "a-r1-1"), newEnclave(t, "b-r1-1")
	routeB := b.route(1)
	routeB.Domain = "other.example.org"
	g := serve(t, Config{Routes: newRoutes(t, a.route(1), routeB)})
	for name, want := range map[string]string{
		testDomain: a.id, "other.example.org": b.id, "API.Example.ORG": a.id,
	} {
		s := g.mustConnect(t, name)
		if s.id != want {
			t.Errorf("%s reached %s, want %s", name, s.id, want)
		}
		if err := s.ask("hello"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBothDirectionsCarryBulkAndSmallMessagesUnchanged(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1))})
	s := g.mustConnect(t, testDomain)
	for _, size := range []int{1, 100, relayBuffer - 1, relayBuffer, 3 * relayBuffer, spliceMost + 12345, 3*spliceMost + 1, 7} {
		data := make([]byte, size)
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Write(data); err != nil {
				t.Errorf("write %d bytes: %v", size, err)
			}
		})
		got := make([]byte, size)
		_, err := io.ReadFull(s.lines, got)
		wg.Wait()
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes came back changed (%v)", size, err)
		}
	}
	s.leave(t)
	eventually(t, "the connection has ended", func() bool { return g.ends(outcomeOK) == 1 })
	up, down := g.live.bytes()
	if up < 4*spliceMost || down < 4*spliceMost {
		t.Errorf("counted %d bytes up and %d down, want at least what was sent, %d", up, down, 4*spliceMost)
	}
}

// rawPair joins a plain client and a plain server through the gateway's relays:
// the first bytes are a hello, after that nobody looks.
func rawPair(t *testing.T) (g *gate, client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g = serve(t, Config{Routes: newRoutes(t, Route{
		Domain: testDomain, Generation: 1, State: Serving, Enclave: "a-r1-1", Endpoint: l.Addr().String(),
	})})
	client = g.dialRaw(t)
	hello := helloFor(t, testDomain)
	if _, err := client.Write(hello); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server = c.(*net.TCPConn)
	t.Cleanup(func() { server.Close() })
	got := make([]byte, len(hello))
	if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, hello) {
		t.Fatalf("the hello reached the enclave changed (%v)", err)
	}
	return g, client, server
}

func (g *gate) dialRaw(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", g.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// helloFor is what crypto/tls sends first.
func helloFor(t testing.TB, name string) []byte {
	t.Helper()
	return captureHello(t, clientTLS(name))
}

func captureHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := tls.Client(client, cfg).Handshake(); err == nil {
			t.Error("a handshake with nobody succeeded")
		}
	})
	defer wg.Wait()
	defer server.Close()
	var raw []byte
	var scan helloScan
	piece := make([]byte, 4096)
	for {
		n, err := server.Read(piece)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, piece[:n]...)
		if msg, err := scan.scan(raw); err != nil {
			t.Fatal(err)
		} else if msg != nil {
			return raw
		}
	}
}

func TestEachSideMayEndItsStreamFirst(t *testing.T) {
	for _, clientFirst := range []bool{true, false} {
		t.Run(fmt.Sprintf("client first %v", clientFirst), func(t *testing.T) {
			g, client, server := rawPair(t)
			first, second := client, server
			if !clientFirst {
				first, second = server, client
			}
			if _, err := first.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			if err := first.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(second)
			if err != nil || string(got) != "last words" {
				t.Fatalf("got %q (%v) before the end of the stream", got, err)
			}
			if _, err := second.Write([]byte("answer")); err != nil {
				t.Fatalf("the other direction was closed too: %v", err)
			}
			second.Close()
			if got, err := io.ReadAll(first); err != nil || string(got) != "answer" {
				t.Fatalf("got %q (%v) on the way back", got, err)
			}
			eventually(t, "the connection is counted out as ok", func() bool { return g.ends(outcomeOK) == 1 })
		})
	}
}

func TestResetOfOneSideResetsTheOther(t *testing.T) {
	for _, byClient := range []bool{true, false} {
		t.Run(fmt.Sprintf("by client %v", byClient), func(t *testing.T) {
			g, client, server := rawPair(t)
			first, second, want := client, server, outcomeClientReset
			if !byClient {
				first, second, want = server, client, outcomeBackendReset
			}
			if err := first.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			first.Close()
			if err := second.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := second.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the other side saw %v, want a reset", err)
			}
			eventually(t, "the end is counted as "+outcomeNames[want], func() bool { return g.ends(want) == 1 })
		})
	}
}

// TestResetBeforeTheHelloIsNoEnd: an enclave that resets a connection at once, as
// one does that stops listening, is never taken for one that ended it in order.
func TestResetBeforeTheHelloIsNoEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.Close()
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
	const tries = 50
	g := serve(t, Config{Routes: newRoutes(t, Route{
		Domain: testDomain, Generation: 1, State: Serving, Enclave: "a-r1-1", Endpoint: l.Addr().String(), Container: "api",
	})})
	hello := helloFor(t, testDomain)
	for range tries {
		c := g.dialRaw(t)
		if _, err := c.Write(hello); err != nil {
			t.Fatal(err)
		}
		// A connect that meets the reset itself is answered with an alert.
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the client saw %v, want a reset", err)
		}
		c.Close()
	}
	eventually(t, "every end is counted as the enclave's", func() bool {
		return g.ends(outcomeBackendReset)+g.ends(outcomeBackendUnreachable) == tries
	})
}

func TestSpliceFailureIsBlamedOnTheSideThatFailed(t *testing.T) {
	g, client, server := rawPair(t)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(client, rand.Reader) }) // until it is cut
	if _, err := io.CopyN(io.Discard, server, 3*relayBuffer); err != nil {
		t.Fatal(err)
	}
	_ = server.SetLinger(0)
	server.Close()
	wg.Wait()
	eventually(t, "the end is counted as a backend reset", func() bool { return g.ends(outcomeBackendReset) == 1 })
}

func TestEnclaveThatDiesIsSeenByItsClients(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1))})
	s := g.mustConnect(t, testDomain)
	e.cut()
	if _, err := s.lines.ReadByte(); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the client saw %v, want an error that is not a clean end", err)
	}
}

func TestHugeBodyIsWhole(t *testing.T) {
	_, client, server := rawPair(t)
	const size = 64 << 20
	sent, got := sha256.New(), sha256.New()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.CopyN(io.MultiWriter(server, sent), rand.Reader, size); err != nil {
			t.Errorf("send: %v", err)
		}
		_ = server.CloseWrite()
	})
	n, err := io.Copy(got, client)
	wg.Wait()
	if err != nil || n != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d of %d bytes arrived, same content: %v (%v)", n, size, bytes.Equal(sent.Sum(nil), got.Sum(nil)), err)
	}
}
