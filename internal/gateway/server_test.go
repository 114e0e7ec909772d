package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"
)

func TestConfigThatCannotWorkIsRefused(t *testing.T) {
	routes := newRoutes(t)
	unixListener, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer unixListener.Close()
	listen := []string{"127.0.0.1:0"}
	for rule, cfg := range map[string]Config{
		"no routes":           {Listen: listen},
		"nothing to listen":   {Routes: routes},
		"not TCP":             {Routes: routes, Listeners: []net.Listener{unixListener}},
		"a bad address":       {Routes: routes, Listen: []string{"nowhere"}},
		"a negative time":     {Routes: routes, Listen: listen, HelloTimeout: -1},
		"a negative limit":    {Routes: routes, Listen: listen, MaxSource: -1},
		"half-second probes":  {Routes: routes, Listen: listen, KeepAlive: KeepAlive{Idle: time.Second / 2}},
		"a port that's taken": {Routes: routes, Listen: []string{takenAddr(t)}},
	} {
		if s, err := New(t.Context(), cfg); err == nil {
			t.Errorf("%s: accepted", rule)
			_ = s.closeListeners()
		}
	}
}

func takenAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestRunServesOnce(t *testing.T) {
	g := serve(t, Config{Routes: newRoutes(t)})
	eventually(t, "it runs", g.accepting.Load)
	if err := g.Run(t.Context()); err == nil {
		t.Error("a second Run was accepted")
	}
}

func TestStopLetsOpenConnectionsFinish(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1)), DrainTimeout: patience})
	s := g.mustConnect(t, testDomain)
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	eventually(t, "it no longer accepts", func() bool { return !g.accepting.Load() })
	if err := s.ask("not yet done"); err != nil {
		t.Errorf("the open connection broke: %v", err)
	}
	eventually(t, "no new connection is accepted", func() bool {
		c, err := net.Dial("tcp", g.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	s.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopCutsWhatIsLeftAfterTheDrainTimeout(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1)), DrainTimeout: time.Millisecond})
	s := g.mustConnect(t, testDomain)
	silent := g.dialRaw(t)
	eventually(t, "both are counted", func() bool { return g.limit.total.Load() == 2 })
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("a joined connection outlived the server")
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("a silent connection outlived the server")
	}
	if n := g.limit.total.Load(); n != 0 {
		t.Errorf("%d connections still counted", n)
	}
}

func TestLimitsHoldInAllAndForEachSource(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	refused := func(g *gate) bool {
		_, err := g.connect(testDomain)
		return err != nil
	}
	t.Run("in all", func(t *testing.T) {
		g := serve(t, Config{Routes: newRoutes(t, e.route(1)), MaxConnections: 2})
		first, _ := g.mustConnect(t, testDomain), g.mustConnect(t, testDomain)
		if !refused(g) || g.ends(outcomeLimit) != 1 {
			t.Error("a third connection was let in")
		}
		first.Close()
		eventually(t, "the place is free", func() bool { return g.limit.total.Load() == 1 })
		g.mustConnect(t, testDomain)
	})
	t.Run("of a source", func(t *testing.T) {
		g := serve(t, Config{Routes: newRoutes(t, e.route(1)), MaxSource: 2})
		first, _ := g.mustConnect(t, testDomain), g.mustConnect(t, testDomain)
		if !refused(g) || g.ends(outcomeSourceLimit) != 1 {
			t.Error("a third connection was let in")
		}
		first.Close()
		eventually(t, "the place is free", func() bool { return g.limit.total.Load() == 1 })
		g.mustConnect(t, testDomain)
	})
}

func TestSourcesAreCountedByAddressOrIPv6Prefix(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
	} {
		if got := sourceOf(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s is counted as %s, want %s", in, got, want)
		}
	}
}

func TestThousandsOfConnectionsAtOnce(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1))})
	const n = 1500
	sessions := make([]*session, n)
	var wg sync.WaitGroup
	places := make(chan struct{}, 32)
	for i := range sessions {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			s, err := g.connect(testDomain)
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			sessions[i] = s
		})
	}
	wg.Wait()
	if open := g.cfg.Routes.Open(e.id); open != n {
		t.Errorf("%d connections counted, want %d", open, n)
	}
	for i, s := range sessions {
		if s == nil {
			continue
		}
		// The first ones have waited for all the others.
		if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
		if err := s.ask("ping"); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
		s.Close()
	}
	eventually(t, "all are gone", func() bool { return g.limit.total.Load() == 0 && g.cfg.Routes.Open(e.id) == 0 })
}

func TestProxyHeaderIsTakenFromTrustedProxiesOnlyAndSentOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	route := aRoute(1)
	route.Endpoint = l.Addr().String()
	hello := helloFor(t, testDomain)
	client := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 4711}
	head, err := proxyproto.HeaderProxyFromAddrs(2, client, l.Addr()).Format()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("trusted", func(t *testing.T) {
		g := serve(t, Config{Routes: newRoutes(t, route), SendProxy: true, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		c := g.dialRaw(t)
		for _, piece := range [][]byte{head[:5], head[5:20], append(head[20:], hello...)} {
			if _, err := c.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		got := make([]byte, len(head)+len(hello))
		if _, err := io.ReadFull(in, got); err != nil {
			t.Fatal(err)
		}
		if string(got[16:20]) != string(client.IP.To4()) || string(got[len(head):]) != string(hello) {
			t.Errorf("the enclave got %x, want a header with %s and the hello", got[:len(head)], client)
		}
		for rule, raw := range map[string][]byte{"no header": hello, "a header too long": append(append([]byte{}, head[:14]...), 0xff, 0xff)} {
			bad := g.dialRaw(t)
			if _, err := bad.Write(raw); err != nil {
				t.Fatal(err)
			}
			if out, _ := io.ReadAll(bad); len(out) > 0 {
				t.Errorf("%s: answered %x, want nothing", rule, out)
			}
		}
		eventually(t, "both are counted", func() bool { return g.helloFailures("proxy_header") == 2 })
	})
	t.Run("not trusted", func(t *testing.T) {
		g := serve(t, Config{Routes: newRoutes(t, route)})
		if got := answerTo(t, g, append(head, hello...)); string(got) != string(alertDecodeError.record()) {
			t.Errorf("answered %x, want a decode error: the header is no hello", got)
		}
	})
}

// The test sweeps, so that nothing is ended while it connects or asks.
func TestSweepEndsIdleConnectionsOnly(t *testing.T) {
	const limit = 200 * time.Millisecond
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1)), IdleTimeout: limit, SweepInterval: time.Hour})
	idle := g.mustConnect(t, testDomain)
	first, _ := g.live.split()
	busy := g.mustConnect(t, testDomain)
	eventually(t, "the idle connection is ended", func() bool { g.look(first[0]); return g.ends(outcomeIdle) == 1 })
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the idle connection saw %v, want a reset", err)
	}
	left, _ := g.live.split()
	asked := time.Now()
	if err := busy.ask("still here"); err != nil {
		t.Fatal(err)
	}
	g.look(left[0])
	took := time.Since(asked) // on a machine that is held up it may be idle by now
	if err := busy.ask("still here"); err != nil && took < limit/2 {
		t.Errorf("a connection with traffic was ended: %v", err)
	}
}

func TestSocketsOfAConnectionHaveKeepaliveAndReportTheirQueue(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(1)), SweepInterval: 10 * time.Millisecond})
	g.mustConnect(t, testDomain)
	option := func(s *socket, level, name int) (value int) {
		if err := s.control(func(fd int) (err error) {
			value, err = unix.GetsockoptInt(fd, level, name)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return value
	}
	joined, _ := g.live.split()
	for side, s := range map[string]*socket{"client": joined[0].client, "enclave": joined[0].up.dst} {
		eventually(t, side+" has keepalive", func() bool {
			return option(s, unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 1 && option(s, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE) == 30
		})
		if option(s, unix.IPPROTO_TCP, unix.TCP_INQ) != 1 {
			t.Errorf("the socket to the %s lacks TCP_INQ", side)
		}
		if option(s, unix.IPPROTO_TCP, unix.TCP_NODELAY) != 1 {
			t.Errorf("the socket to the %s lacks TCP_NODELAY", side)
		}
	}
}

func TestAdminShowsMetricsHealthAndRoutes(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	g := serve(t, Config{Routes: newRoutes(t, e.route(3))})
	eventually(t, "it runs", g.accepting.Load)
	g.mustConnect(t, testDomain)
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		g.AdminHandler().ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz says %d, want 200", code)
	}
	if _, body := get("/routes"); !strings.Contains(body, `"generation": 3`) {
		t.Errorf("/routes lacks the route: %s", body)
	}
	_, body := get("/metrics")
	for _, line := range []string{
		`casemate_gateway_connections_open 1`,
		`casemate_gateway_enclave_connections{draining="false",enclave="a-r1-1"} 1`,
		`casemate_gateway_route_generation{domain="api.example.org"} 3`,
		`casemate_gateway_connections_total{outcome="ok"} 0`,
		`casemate_gateway_coordinator_connected 0`,
		`casemate_gateway_routes 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("/metrics lacks %q", line)
		}
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if code, _ := get("/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("/healthz says %d after the stop, want 503", code)
	}
}
