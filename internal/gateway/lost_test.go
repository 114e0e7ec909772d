package gateway

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// lose applies a route that comes with the loss of enclaves.
func lose(t *testing.T, r *Routes, now Route, ids ...string) {
	t.Helper()
	if _, err := r.Apply(t.Context(), Batch{ClusterID: testCluster, Epoch: 1, Routes: []Route{now}, Lost: ids}); err != nil {
		t.Fatal(err)
	}
}

func TestConnectionsToAForgottenHostAreClosedAtOnce(t *testing.T) {
	old, next, other := newEnclave(t, "a-r1-1"), newEnclave(t, "a-r1-2"), newEnclave(t, "b-r1-1")
	elsewhere := other.route(1)
	elsewhere.Domain = "other.example.org"
	routes := newRoutes(t, old.route(1), elsewhere)
	g := serve(t, Config{Routes: routes})
	hanging, untouched := g.mustConnect(t, testDomain), g.mustConnect(t, elsewhere.Domain)
	if _, err := routes.Apply(t.Context(), Batch{ClusterID: testCluster, Epoch: 1, Routes: []Route{next.route(2)}}); err != nil {
		t.Fatal(err)
	}
	lose(t, routes, next.route(2), old.id) // which leads where it led
	if _, err := hanging.lines.ReadByte(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the connection to the lost enclave gives %v, want a reset: its end could be taken for a complete answer", err)
	}
	eventually(t, "the lost enclave has no connection", func() bool { return routes.Open(old.id) == 0 })
	after := g.mustConnect(t, testDomain)
	if err := errors.Join(untouched.ask("still here"), after.ask("here now")); err != nil || after.id != next.id {
		t.Errorf("other connections: %v, the new one leads to %s; want both whole, and %s", err, after.id, next.id)
	}
}

func TestALossThatTheRouteDeniesClosesNothing(t *testing.T) {
	e := newEnclave(t, "a-r1-1")
	routes := newRoutes(t, e.route(1))
	g := serve(t, Config{Routes: routes})
	c := g.mustConnect(t, testDomain)
	lose(t, routes, e.route(2), e.id)
	again := g.mustConnect(t, testDomain)
	if err := errors.Join(c.ask("still here"), again.ask("here too")); err != nil {
		t.Errorf("the route leads to the enclave, and a connection to it broke: %v", err)
	}
}

// lateDialer gives out its connection when the test says so.
type lateDialer struct {
	dialled, goOn chan struct{}
}

func (d *lateDialer) dial(endpoint string, deadline time.Time) (*socket, error) {
	s, err := dialEndpoint(endpoint, deadline)
	d.dialled <- struct{}{}
	<-d.goOn
	return s, err
}

// TestADialIntoALossIsNotJoined has a host forgotten while a connection to its
// enclave is being made: that connection goes where the route leads then.
func TestADialIntoALossIsNotJoined(t *testing.T) {
	old, next := newEnclave(t, "a-r1-1"), newEnclave(t, "a-r1-2")
	routes := newRoutes(t, old.route(1))
	d := &lateDialer{dialled: make(chan struct{}, 10), goOn: make(chan struct{})}
	g := serve(t, Config{Routes: routes, dial: d.dial})
	got := make(chan error, 1)
	go func() {
		c, err := g.connect(testDomain)
		if err == nil {
			if c.id != next.id {
				err = errors.New("it reached " + c.id)
			}
			c.Close()
		}
		got <- err
	}()
	select {
	case <-d.dialled:
	case err := <-got:
		t.Fatalf("the client came to its end before a dial: %v", err)
	}
	applied := make(chan error, 1)
	go func() {
		_, err := routes.Apply(context.Background(), Batch{ClusterID: testCluster, Epoch: 1, Routes: []Route{next.route(2)}, Lost: []string{old.id}})
		applied <- err
	}()
	eventually(t, "the new route is in force", func() bool { r, _ := routes.Table().Route(testDomain); return r.Generation == 2 })
	close(d.goOn)
	if err := errors.Join(<-applied, <-got); err != nil {
		t.Errorf("the client was not led to %s: %v", next.id, err)
	}
	eventually(t, "the lost enclave has no connection", func() bool { return routes.Open(old.id) == 0 })
}
