package gateway

import (
	"bytes"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"
)

// examineAll feeds the bytes to an intake in pieces, as reads would.
func examineAll(raw []byte, piece int) (*intake, bool, error) {
	in := &intake{proxied: true}
	for end := min(piece, len(raw)); ; end = min(end+piece, len(raw)) {
		in.got = raw[:end]
		if done, err := in.examine(); done || err != nil || end == len(raw) {
			return in, done, err
		}
	}
}

func FuzzProxyHeaderAndHelloAreReadAlikeInAnyPieces(f *testing.F) {
	client := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 4711}
	head, err := proxyproto.HeaderProxyFromAddrs(2, client, client).Format()
	if err != nil {
		f.Fatal(err)
	}
	hello := records(helloSpec{names: []string{testDomain}}.build(), maxPlaintext)
	f.Add(append(bytes.Clone(head), hello...), uint8(10))
	f.Add(hello, uint8(0))
	f.Add(head[:15], uint8(3))
	local := bytes.Clone(head)
	local[12] = 0x20 // the LOCAL command
	f.Add(append(local, hello...), uint8(7))
	f.Fuzz(func(t *testing.T, raw []byte, piece uint8) {
		if len(raw) == 0 || len(raw) > maxHello {
			return
		}
		a, doneA, errA := examineAll(raw, int(piece)+1)
		b, doneB, errB := examineAll(raw, len(raw))
		if doneA != doneB || (errA == nil) != (errB == nil) || a.source != b.source || a.header != b.header {
			t.Errorf("in pieces of %d: %v, %v; whole: %v, %v", int(piece)+1, doneA, errA, doneB, errB)
		}
		if doneA && !bytes.Equal(a.domain(), b.domain()) {
			t.Errorf("names differ: %q and %q", a.domain(), b.domain())
		}
	})
}

// faultyDial is a bug.
func faultyDial(string, time.Time) (*socket, error) { panic("a bug") }

func TestFaultInOneConnectionEndsNoOther(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	routes := newRoutes(t, e.route(1))
	g := serve(t, Config{Routes: routes, dial: faultyDial})
	if err := oneVisit(g); err == nil {
		t.Fatal("a connection came through a dialer that fails")
	}
	eventually(t, "the fault is counted", func() bool { return g.ends(outcomeInternal) == 1 })
	next := e.route(2)
	apply(t, routes, next) // would wait for ever if the dial still counted
	eventually(t, "no connection is counted", func() bool { return g.limit.total.Load() == 0 })
}

// unrelayed is a joined connection whose relays do not run, so that only the
// sweep can notice what happens to it.
func unrelayed(t *testing.T, g *gate) (c *conn, client, server *net.TCPConn) {
	t.Helper()
	pair := func() (near *socket, far *net.TCPConn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		a, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		f, err := b.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		if near, err = fileSocket(f); err != nil {
			t.Fatal(err)
		}
		return near, a.(*net.TCPConn)
	}
	nearClient, client := pair()
	nearServer, server := pair()
	c = &conn{s: g.Server, client: nearClient}
	g.limit.enter()
	e := g.cfg.Routes.Table().lookup([]byte(testDomain))
	e.joined()
	if err := c.join(nearServer, e, nil); err != nil {
		t.Fatal(err)
	}
	return c, client, server
}

func TestSweepFindsAResetThatNobodyNoticed(t *testing.T) {
	g := serve(t, Config{Routes: newRoutes(t, aRoute(1)), SweepInterval: time.Hour})
	c, client, server := unrelayed(t, g)
	if _, err := server.Write([]byte("data that came along")); err != nil {
		t.Fatal(err)
	}
	g.look(c)
	if g.ends(outcomeBackendReset) != 0 {
		t.Fatal("a sound connection was taken for a dead one")
	}
	if err := server.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	server.Close()
	eventually(t, "the sweep ends the connection", func() bool { g.look(c); return g.ends(outcomeBackendReset) == 1 })
	if err := client.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want a reset", err)
	}
}

// TestAHelloTakesNoMoreMemoryThanWhatWasSent: many that are begun and never ended must
// not cost the gateway much more than their senders.
func TestAHelloTakesNoMoreMemoryThanWhatWasSent(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRaw(ends[0])
	defer closeRaw(ends[1])
	hello := records(helloSpec{names: []string{testDomain}, after: 60_000}.build(), maxPlaintext)
	in := &intake{got: make([]byte, 0, smallHello)}
	for sent := 0; sent < len(hello); {
		n := min(500, len(hello)-sent)
		if _, err := unix.Write(ends[0], hello[sent:sent+n]); err != nil {
			t.Fatal(err)
		}
		sent += n
		done, err := in.fill(ends[1])
		if err != nil || done != (sent == len(hello)) {
			t.Fatalf("after %d of %d bytes: %v, %v", sent, len(hello), done, err)
		}
		if most := max(2*sent, smallHello); cap(in.got) > most {
			t.Fatalf("%d bytes are kept ready after %d, want at most %d", cap(in.got), sent, most)
		}
	}
	if string(in.domain()) != testDomain || !bytes.Equal(in.hello(), hello) {
		t.Errorf("read %q and %d bytes, want %q and %d", in.domain(), len(in.hello()), testDomain, len(hello))
	}
}
