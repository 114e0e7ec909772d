package gateway

import (
	"net"
	"sync"
	"testing"
	"time"
)

func heldRoute(generation int64) Route {
	return Route{Domain: testDomain, Generation: generation, State: Held, Container: "api", HoldTimeout: time.Minute}
}

// visitor connects in the background and tells which enclave it reached.
type visitor struct {
	id  string
	err error
}

func visit(wg *sync.WaitGroup, g *gate) *visitor {
	v := &visitor{}
	wg.Go(func() {
		s, err := g.connect(testDomain)
		if err != nil {
			v.err = err
			return
		}
		defer s.Close()
		v.id, v.err = s.id, s.ask("thanks for waiting")
	})
	return v
}

func waiting(t *testing.T, g *gate, n int64) {
	t.Helper()
	eventually(t, "connections wait", func() bool { return g.holds.waiting.Load() == n })
}

func TestHeldConnectionsGoOnToTheNewEnclave(t *testing.T) {
	old, next := newEnclave(t, "a-r1-1"), newEnclave(t, "a-r2-1")
	routes := newRoutes(t, old.route(1))
	g := serve(t, Config{Routes: routes})
	before := g.mustConnect(t, testDomain)
	apply(t, routes, heldRoute(2))
	var wg sync.WaitGroup
	visitors := make([]*visitor, 20)
	for i := range visitors {
		visitors[i] = visit(&wg, g)
	}
	waiting(t, g, 20)
	if err := before.ask("an open connection is not held"); err != nil {
		t.Error(err)
	}
	apply(t, routes, func() Route { r := heldRoute(3); r.HoldTimeout = 2 * time.Minute; return r }())
	apply(t, routes, next.route(4))
	wg.Wait()
	for _, v := range visitors {
		if v.err != nil || v.id != next.id {
			t.Errorf("a held connection reached %q, %v; want %s", v.id, v.err, next.id)
		}
	}
	waiting(t, g, 0)
	if n := old.accepted.Load(); n != 1 {
		t.Errorf("the old enclave got %d connections, want the one from before", n)
	}
}

func TestHoldEndsWithAnAlert(t *testing.T) {
	short := heldRoute(1)
	short.HoldTimeout = 50 * time.Millisecond
	routes := newRoutes(t, short)
	g := serve(t, Config{Routes: routes})
	wantAlert(t, g, testDomain, alertInternalError)
	eventually(t, "the timeout is counted", func() bool { return g.ends(outcomeHoldTimeout) == 1 })

	apply(t, routes, heldRoute(2))
	var wg sync.WaitGroup
	v := visit(&wg, g)
	waiting(t, g, 1)
	closed := heldRoute(3)
	closed.State = Closed
	apply(t, routes, closed)
	wg.Wait()
	if v.err == nil {
		t.Error("a held connection was joined although its route was closed")
	}
	eventually(t, "the closed route is counted", func() bool { return g.ends(outcomeClosedRoute) == 1 })

	apply(t, routes, heldRoute(4))
	v = visit(&wg, g)
	waiting(t, g, 1)
	if _, err := routes.Apply(t.Context(), Batch{ClusterID: testCluster, Epoch: 1, Deleted: []Tombstone{{testDomain, 5}}}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if v.err == nil {
		t.Error("a held connection was joined although its route was deleted")
	}
	eventually(t, "the deleted route is counted", func() bool { return g.ends(outcomeNoRoute) == 1 })
}

func TestHoldTimeRunsOnThroughLaterGenerations(t *testing.T) {
	first := heldRoute(1)
	first.HoldTimeout = 300 * time.Millisecond
	routes := newRoutes(t, first)
	g := serve(t, Config{Routes: routes})
	var wg sync.WaitGroup
	v := visit(&wg, g)
	// A machine that is held up may be past the time before it sees who waits.
	eventually(t, "a connection waits, or did", func() bool {
		return g.holds.waiting.Load() == 1 || g.ends(outcomeHoldTimeout) == 1
	})
	longer := heldRoute(2)
	longer.HoldTimeout = time.Hour // the client has less patience
	apply(t, routes, longer)
	wg.Wait()
	if v.err == nil {
		t.Error("connected although nothing serves")
	}
	eventually(t, "the timeout is counted", func() bool { return g.ends(outcomeHoldTimeout) == 1 })
}

func TestClientThatLeavesFreesItsPlaceInTheHold(t *testing.T) {
	for rule, leave := range map[string]func(*gate, *testing.T){
		"with a reset": func(g *gate, t *testing.T) {
			c := g.dialRaw(t)
			if _, err := c.Write(helloFor(t, testDomain)); err != nil {
				t.Fatal(err)
			}
			waiting(t, g, 1)
			_ = c.SetLinger(0)
			c.Close()
		},
		"with early data unread": func(g *gate, t *testing.T) {
			c := g.dialRaw(t)
			if _, err := c.Write(append(helloFor(t, testDomain), 23, 3, 3, 0, 1, 0)); err != nil {
				t.Fatal(err)
			}
			waiting(t, g, 1)
			if _, err := c.Write([]byte("more")); err != nil {
				t.Fatal(err)
			}
			c.Close()
		},
	} {
		t.Run(rule, func(t *testing.T) {
			g := serve(t, Config{Routes: newRoutes(t, heldRoute(1))})
			leave(g, t)
			waiting(t, g, 0)
			eventually(t, "it is counted", func() bool { return g.ends(outcomeHoldGone) == 1 })
		})
	}
}

func TestHoldIsBoundedForEachRouteAndInAll(t *testing.T) {
	other := heldRoute(1)
	other.Domain = "other.example.org"
	g := serve(t, Config{Routes: newRoutes(t, heldRoute(1), other), MaxHeld: 3, MaxHeldRoute: 2})
	hold := func(name string) {
		c := g.dialRaw(t)
		if _, err := c.Write(helloFor(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	hold(testDomain)
	hold(testDomain)
	waiting(t, g, 2)
	wantAlert(t, g, testDomain, alertInternalError)
	hold("other.example.org")
	waiting(t, g, 3)
	wantAlert(t, g, "other.example.org", alertInternalError)
	eventually(t, "both are counted", func() bool { return g.ends(outcomeHoldFull) == 2 })
}

func TestOneSourceDoesNotTakeEveryPlaceInTheHold(t *testing.T) {
	g := serve(t, Config{Routes: newRoutes(t, heldRoute(1)), MaxSource: 2 * heldShare})
	hold := func(from string) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.DialContext(t.Context(), "tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write(helloFor(t, testDomain)); err != nil {
			t.Fatal(err)
		}
	}
	hold("127.0.0.1")
	hold("127.0.0.1")
	waiting(t, g, 2)
	wantAlert(t, g, testDomain, alertInternalError)
	hold("127.0.0.2")
	waiting(t, g, 3)
	eventually(t, "it is counted", func() bool { return g.ends(outcomeHoldFull) == 1 })
}

func TestStopEndsTheHold(t *testing.T) {
	g := serve(t, Config{Routes: newRoutes(t, heldRoute(1)), DrainTimeout: patience})
	var wg sync.WaitGroup
	v := visit(&wg, g)
	waiting(t, g, 1)
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if v.err == nil {
		t.Error("connected although nothing serves")
	}
}
