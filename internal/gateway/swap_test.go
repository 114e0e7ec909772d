package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOpenConnectionStaysWhileNewOnesGoToTheNewEnclave(t *testing.T) {
	old, next := newEnclave(t, "a-r1-1"), newEnclave(t, "a-r2-1")
	routes := newRoutes(t, old.route(1))
	g := serve(t, Config{Routes: routes})
	before := g.mustConnect(t, testDomain)
	ack := apply(t, routes, next.route(2))
	after := g.mustConnect(t, testDomain)
	if before.id != old.id || after.id != next.id {
		t.Errorf("before the switch %s, after it %s; want %s and %s", before.id, after.id, old.id, next.id)
	}
	if err := errors.Join(before.ask("still here"), after.ask("here now")); err != nil {
		t.Errorf("a connection broke at the switch: %v", err)
	}
	if len(ack.Draining) != 1 || ack.Draining[0].Enclave != old.id || ack.Draining[0].Open != 1 {
		t.Errorf("the acknowledgement says %+v, want one connection left to %s", ack.Draining, old.id)
	}
	if n, m := routes.Open(old.id), routes.Open(next.id); n != 1 || m != 1 {
		t.Errorf("%d and %d connections counted, want one each", n, m)
	}
	before.Close()
	eventually(t, "the old enclave is left", func() bool { return routes.Open(old.id) == 0 })
}

// ledger is a dialer that fails the test when an endpoint is dialled after its
// retirement.
type ledger struct {
	mu      sync.Mutex
	retired map[string]bool
	late    atomic.Int64
}

func (l *ledger) dial(endpoint string, deadline time.Time) (*socket, error) {
	l.check(endpoint)
	s, err := dialEndpoint(endpoint, deadline)
	l.check(endpoint)
	return s, err
}

func (l *ledger) check(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired[endpoint] {
		l.late.Add(1)
	}
}

// turn makes one endpoint the only one that may be dialled.
func (l *ledger) turn(from, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired[from] = true
	delete(l.retired, to)
}

func TestSwitchesUnderLoadLoseNothingAndDialNoOldEnclave(t *testing.T) {
	enclaves := []*enclave{newEnclave(t, "a-r1-1"), newEnclave(t, "a-r2-1")}
	routes := newRoutes(t, enclaves[0].route(1))
	dials := &ledger{retired: map[string]bool{}}
	g := serve(t, Config{Routes: routes, dial: dials.dial})
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var requests atomic.Int64
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if err := oneVisit(g); err != nil {
					t.Errorf("a client failed: %v", err)
					return
				}
				requests.Add(1)
			}
		})
	}
	const switches = 60
	for i := range switches {
		from, to := enclaves[i%2], enclaves[(i+1)%2]
		seen := requests.Load()
		apply(t, routes, to.route(int64(i+2)))
		dials.turn(from.addr(), to.addr()) // acknowledged: from here on it is wrong
		eventually(t, "clients get on", func() bool { return requests.Load() > seen+4 || t.Failed() })
		dials.mu.Lock()
		delete(dials.retired, from.addr())
		dials.mu.Unlock()
	}
	stop()
	clients.Wait()
	if n := dials.late.Load(); n > 0 {
		t.Errorf("an enclave was dialled %d times after the acknowledgement of the switch", n)
	}
	t.Logf("%d visits over %d switches", requests.Load(), switches)
}

func oneVisit(g *gate) error {
	s, err := g.connect(testDomain)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.ask("ping")
}

// slowDial lets a test decide when a dial ends.
type slowDial struct {
	begun   chan string
	proceed chan struct{}
}

func (d *slowDial) dial(endpoint string, deadline time.Time) (*socket, error) {
	d.begun <- endpoint
	<-d.proceed
	return dialEndpoint(endpoint, deadline)
}

func TestDialUnderWayAtASwitchIsRepeatedAtTheNewEnclave(t *testing.T) {
	old, next := newEnclave(t, "a-r1-1"), newEnclave(t, "a-r2-1")
	routes := newRoutes(t, old.route(1))
	d := &slowDial{begun: make(chan string, 2), proceed: make(chan struct{})}
	g := serve(t, Config{Routes: routes, dial: d.dial})
	reached := make(chan string, 1)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		s, err := g.connect(testDomain)
		if err != nil {
			t.Errorf("connect: %v", err)
			reached <- ""
			return
		}
		defer s.Close()
		reached <- s.id
	})
	select {
	case first := <-d.begun:
		if first != old.addr() {
			t.Fatalf("dialled %s first, want %s", first, old.addr())
		}
	case <-reached:
		t.Fatal("the connection ended before a dial")
	}
	acked := make(chan Ack, 1)
	tasks.Go(func() { acked <- apply(t, routes, next.route(2)) })
	eventually(t, "the new table is in force", func() bool {
		r, _ := routes.Table().Route(testDomain)
		return r.Generation == 2
	})
	select {
	case <-acked:
		t.Error("acknowledged while a dial to the old enclave was under way")
	default:
	}
	close(d.proceed)
	if ack := <-acked; len(ack.Draining) != 1 || ack.Draining[0].Open != 0 {
		t.Errorf("draining %+v, want nothing open at %s", ack.Draining, old.id)
	}
	if id := <-reached; id != next.id {
		t.Errorf("reached %q, want %s", id, next.id)
	}
	tasks.Wait()
}

// refusedAddr is an address at which nothing listens; it is taken, so that nobody
// else does.
func refusedAddr(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := localAddr(fd)
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}

// switchOnDial changes the route while the first dial fails.
type switchOnDial struct {
	once sync.Once
	act  func()
}

func (d *switchOnDial) dial(endpoint string, deadline time.Time) (*socket, error) {
	d.once.Do(d.act)
	return dialEndpoint(endpoint, deadline)
}

func TestFailedDialIsRepeatedOnlyAtANewerRoute(t *testing.T) {
	dead := Route{Domain: testDomain, Generation: 1, State: Serving, Enclave: "a-r1-1", Endpoint: refusedAddr(t)}
	next := newEnclave(t, "a-r2-1")
	t.Run("no newer route", func(t *testing.T) {
		g := serve(t, Config{Routes: newRoutes(t, dead)})
		wantAlert(t, g, testDomain, alertInternalError)
		eventually(t, "it is counted", func() bool { return g.ends(outcomeBackendRefused) == 1 })
	})
	t.Run("a newer route", func(t *testing.T) {
		routes := newRoutes(t, dead)
		var tasks sync.WaitGroup
		defer tasks.Wait()
		d := &switchOnDial{}
		d.act = func() {
			tasks.Go(func() { apply(t, routes, next.route(2)) }) // waits for this dial
			eventually(t, "the new table is in force", func() bool {
				r, _ := routes.Table().Route(testDomain)
				return r.Generation == 2
			})
		}
		g := serve(t, Config{Routes: routes, dial: d.dial})
		if s := g.mustConnect(t, testDomain); s.id != next.id {
			t.Errorf("reached %s, want %s", s.id, next.id)
		}
	})
}

func TestSilentEndpointIsGivenUpAfterTheDialTimeout(t *testing.T) {
	g := serve(t, Config{Routes: newRoutes(t, aRoute(1)), DialTimeout: 50 * time.Millisecond, dial: silentDial})
	wantAlert(t, g, testDomain, alertInternalError)
	eventually(t, "it is counted", func() bool { return g.ends(outcomeBackendTimeout) == 1 })
}

// silentDial never gets an answer.
func silentDial(endpoint string, deadline time.Time) (*socket, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	<-ctx.Done()
	return nil, fmt.Errorf("dial %s: %w", endpoint, ctx.Err())
}

func TestDrainingIsReportedAsItChangesAndAtOnceWhenOver(t *testing.T) {
	old, next := newEnclave(t, "a-r1-1"), newEnclave(t, "a-r2-1")
	routes := newRoutes(t, old.route(1))
	g := serve(t, Config{Routes: routes})
	var open []*session
	for range 3 {
		open = append(open, g.mustConnect(t, testDomain))
	}
	apply(t, routes, next.route(2))
	reports := make(chan []EnclaveCount, 100)
	ctx, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		err := routes.WatchDraining(ctx, time.Hour, func(c []EnclaveCount) error { reports <- c; return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("watch ended with %v", err)
		}
	})
	first := <-reports
	if len(first) != 1 || first[0].Enclave != old.id || first[0].Open != 3 || !first[0].Draining {
		t.Errorf("first report %+v, want 3 connections to %s", first, old.id)
	}
	for _, s := range open {
		s.Close()
	}
	select {
	case last := <-reports:
		if len(last) != 1 || last[0].Open != 0 {
			t.Errorf("last report %+v, want none open, and nothing in between within the interval", last)
		}
	case <-time.After(patience):
		t.Error("the end of draining was not reported")
	}
	stop()
	watch.Wait()
}
