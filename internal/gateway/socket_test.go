package gateway

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSocketAddressesComeBackAsTheyWent(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:443":          "192.0.2.1:443",
		"[2001:db8::1]:65535":    "[2001:db8::1]:65535",
		"[::ffff:192.0.2.1]:256": "192.0.2.1:256",
	} {
		if got := newSockaddr(netip.MustParseAddrPort(in)).addrPort().String(); got != want {
			t.Errorf("%s came back as %s, want %s", in, got, want)
		}
	}
	if got := (&sockaddr{}).addrPort(); got.IsValid() {
		t.Errorf("an address of no family is %s", got)
	}
}

func TestEndpointIsReachedByAddressAndByName(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				// This machine has no such address, so that nothing can be reached there.
				_, err := dialEndpoint(net.JoinHostPort(host, "443"), time.Now().Add(patience))
				if got := classifyDial(err); !errors.Is(got, errBackendUnreachable) {
					t.Errorf("%s: %v, want %v", host, got, errBackendUnreachable)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			s, err := dialEndpoint(net.JoinHostPort(host, port), time.Now().Add(patience))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			far, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			if local, err := s.local(); err != nil || local.String() != far.RemoteAddr().String() {
				t.Errorf("the socket says it is %s (%v), its peer %s", local, err, far.RemoteAddr())
			}
			if err := s.closeWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(far); err != nil || len(got) != 0 {
				t.Errorf("the peer read %q (%v), want the end of the stream", got, err)
			}
		})
	}
}

func TestDialFailuresHaveTheirKinds(t *testing.T) {
	_, err := dialEndpoint(refusedAddr(t), time.Now().Add(patience))
	if got := classifyDial(err); !errors.Is(got, errBackendRefused) {
		t.Errorf("a port without a listener: %v, want %v", got, errBackendRefused)
	}
	if got := classifyDial(dialDeaf(t)); !errors.Is(got, errBackendTimeout) {
		t.Errorf("a listener that does not answer: %v, want %v", got, errBackendTimeout)
	}
	_, err = dialEndpoint("no-such-host.invalid:443", time.Now())
	if err == nil {
		t.Error("a name that can't exist was reached")
	}
}

// dialDeaf dials a listener until its queue is full, so that it does not answer,
// and returns what the last dial said.
func dialDeaf(t *testing.T) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	addr, err := localAddr(fd)
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, err := dialEndpoint(addr.String(), time.Now())
		if err != nil {
			return err
		}
		t.Cleanup(func() { s.Close() })
	}
}

func TestSocketConnectedToItselfIsRefused(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	own, err := localAddr(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := connect(fd, newSockaddr(own)); err != nil {
		t.Fatal(err)
	}
	if err := notItself(fd, own); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want %v", err, syscall.ECONNREFUSED)
	}
}

func TestEndedConnectionsLeaveNoDescriptorOpen(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1)), SweepInterval: time.Hour})
	const n = closeBatch/2 + 3
	for i := range n {
		g.mustConnect(t, testDomain).leave(t)
		eventually(t, "connection "+strconv.Itoa(i)+" has ended", func() bool { return g.ends(outcomeOK) == i+1 })
	}
	if left := len(g.closing.sockets); left != 2*n-closeBatch {
		t.Errorf("%d sockets wait to be closed, want %d", left, 2*n-closeBatch)
	}
	waiting := g.closing.sockets[0]
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if _, err := waiting.state(); err == nil {
		t.Error("a socket outlived the gateway")
	}
}

func TestListenerThatWasGivenIsServedAndClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1)), Listeners: []net.Listener{l}})
	if err := g.mustConnect(t, testDomain).ask("hello"); err != nil {
		t.Error(err)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", g.addr); err == nil {
		c.Close()
		t.Error("the listener outlived the gateway")
	}
}
