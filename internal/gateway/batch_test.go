package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func aRoute(generation int64) Route {
	return Route{Domain: testDomain, Generation: generation, State: Serving, Enclave: "a-r1-1", Endpoint: "192.0.2.1:443"}
}

func TestRouteIsCheckedOnItsOwn(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*Route)
		bad    bool
	}{
		{"a serving route", func(*Route) {}, false},
		{"an endpoint by name", func(r *Route) { r.Endpoint = "host-1.internal:443" }, false},
		{"an IPv6 endpoint", func(r *Route) { r.Endpoint = "[2001:db8::1]:443" }, false},
		{"held without an enclave", func(r *Route) { r.State, r.Enclave, r.Endpoint = Held, "", "" }, false},
		{"closed without an enclave", func(r *Route) { r.State, r.Enclave, r.Endpoint = Closed, "", "" }, false},
		{"serving without an enclave", func(r *Route) { r.Enclave = "" }, true},
		{"serving without an endpoint", func(r *Route) { r.Endpoint = "" }, true},
		{"an endpoint without a port", func(r *Route) { r.Endpoint = "192.0.2.1" }, true},
		{"port 0", func(r *Route) { r.Endpoint = "192.0.2.1:0" }, true},
		{"a port too high", func(r *Route) { r.Endpoint = "192.0.2.1:65536" }, true},
		{"an endpoint without a host", func(r *Route) { r.Endpoint = ":443" }, true},
		{"a held route with a bad endpoint", func(r *Route) { r.State, r.Endpoint = Held, "x" }, true},
		{"generation 0", func(r *Route) { r.Generation = 0 }, true},
		{"an unknown state", func(r *Route) { r.State = "paused" }, true},
		{"a bad domain", func(r *Route) { r.Domain = "*.example.org" }, true},
		{"a hold beyond an hour", func(r *Route) { r.HoldTimeout = 2 * time.Hour }, true},
		{"a negative hold", func(r *Route) { r.HoldTimeout = -1 }, true},
		{"an enclave id with a line break", func(r *Route) { r.Enclave = "a\nb" }, true},
		{"a container name too long", func(r *Route) { r.Container = strings.Repeat("a", maxText+1) }, true},
	} {
		r := aRoute(1)
		c.change(&r)
		if _, err := r.Normalize(); (err != nil) != c.bad {
			t.Errorf("%s: %v, want refused %v", c.rule, err, c.bad)
		}
	}
}

func TestBatchMovesEachRouteForwardOnly(t *testing.T) {
	other := aRoute(5)
	other.Enclave = "b-r2-1"
	bury := func(g int64) []Tombstone { return []Tombstone{{testDomain, g}} }
	for _, c := range []struct {
		rule    string
		batches []Batch
		want    int64 // generation in force, 0 for none
		refused int   // by the last batch
	}{
		{"a first route", []Batch{{Routes: []Route{aRoute(3)}}}, 3, 0},
		{"a newer one", []Batch{{Routes: []Route{aRoute(3)}}, {Routes: []Route{aRoute(9)}}}, 9, 0},
		{"an older one is refused", []Batch{{Routes: []Route{aRoute(3)}}, {Routes: []Route{aRoute(2)}}}, 3, 1},
		{"the same again is acknowledged", []Batch{{Routes: []Route{aRoute(3)}}, {Routes: []Route{aRoute(3)}}}, 3, 0},
		{"another of the same generation is refused", []Batch{{Routes: []Route{aRoute(5)}}, {Routes: []Route{other}}}, 5, 1},
		{"a tombstone of the same generation deletes", []Batch{{Routes: []Route{aRoute(3)}}, {Deleted: bury(3)}}, 0, 0},
		{"an older tombstone is refused", []Batch{{Routes: []Route{aRoute(3)}}, {Deleted: bury(2)}}, 3, 1},
		{"a deleted route does not come back", []Batch{{Deleted: bury(4)}, {Routes: []Route{aRoute(4)}}}, 0, 1},
		{"an older tombstone does not weaken a newer", []Batch{{Deleted: bury(4)}, {Deleted: bury(2)}, {Routes: []Route{aRoute(3)}}}, 0, 1},
		{"a domain may be used anew", []Batch{{Deleted: bury(4)}, {Routes: []Route{aRoute(5)}}}, 5, 0},
		{"a tombstone without a generation is refused", []Batch{{Routes: []Route{aRoute(3)}}, {Deleted: bury(0)}}, 3, 1},
		{"a bad route takes no other with it", []Batch{{Routes: []Route{{Domain: "-"}, aRoute(3)}}}, 3, 1},
		{"an empty complete listing deletes nothing", []Batch{{Routes: []Route{aRoute(3)}}, {Complete: true}}, 3, 0},
	} {
		h := newHeld("")
		var ack Ack
		for _, b := range c.batches {
			b.ClusterID = testCluster
			var err error
			if h, ack, err = h.plan(b); err != nil {
				t.Fatalf("%s: %v", c.rule, err)
			}
		}
		if got := h.routes[testDomain].Generation; got != c.want || len(ack.Refused) != c.refused {
			t.Errorf("%s: generation %d in force, refused %+v; want %d and %d refusals", c.rule, got, ack.Refused, c.want, c.refused)
		}
	}
}

func TestBatchOfAnotherClusterOrAnOlderEpochIsRefusedWhole(t *testing.T) {
	h, _, err := newHeld("").plan(Batch{ClusterID: testCluster, Epoch: 7, Routes: []Route{aRoute(1)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule string
		b    Batch
		want error
	}{
		{"another cluster", Batch{ClusterID: "cluster-b", Epoch: 8}, ErrForeignCluster},
		{"no cluster", Batch{Epoch: 8}, ErrForeignCluster},
		{"an older epoch", Batch{ClusterID: testCluster, Epoch: 6}, ErrStaleEpoch},
		{"the same epoch", Batch{ClusterID: testCluster, Epoch: 7}, nil},
		{"a newer epoch", Batch{ClusterID: testCluster, Epoch: 8}, nil},
	} {
		c.b.Routes = []Route{aRoute(2)}
		c.b.Deleted = []Tombstone{{"x.example.org", 1}}
		if _, _, err := h.plan(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.rule, err, c.want)
		}
		if h.routes[testDomain].Generation != 1 || len(h.deleted) != 0 {
			t.Fatalf("%s: planning changed what is held", c.rule)
		}
	}
}

func TestCompleteListingMarksWhatItLacksAsUnconfirmed(t *testing.T) {
	second := aRoute(1)
	second.Domain = "b.example.org"
	h, _, _ := newHeld("").plan(Batch{ClusterID: testCluster, Routes: []Route{aRoute(1), second}})
	h, _, _ = h.plan(Batch{ClusterID: testCluster, Complete: true, Routes: []Route{second}})
	if !h.unconfirmed[testDomain] || h.unconfirmed["b.example.org"] || len(h.routes) != 2 {
		t.Errorf("unconfirmed %v of %d routes, want only %s of 2", h.unconfirmed, len(h.routes), testDomain)
	}
	h, _, _ = h.plan(Batch{ClusterID: testCluster, Routes: []Route{aRoute(1)}})
	if len(h.unconfirmed) != 0 {
		t.Errorf("%v still unconfirmed after the source named it", h.unconfirmed)
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	h := newHeld("")
	for i := range maxTombstones + 10 {
		h.deleted[fmt.Sprintf("d%d.example.org", i)] = int64(i + 1)
	}
	h.trim()
	if _, oldest := h.deleted["d0.example.org"]; len(h.deleted) != maxTombstones || oldest {
		t.Errorf("%d tombstones kept, the oldest %v; want %d without it", len(h.deleted), oldest, maxTombstones)
	}
}

// No sequence of batches, in any order, takes a domain backwards.
func TestGenerationsNeverDecrease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHeld("")
		highest, epoch := map[string]int64{}, int64(0)
		for range rapid.IntRange(1, 30).Draw(t, "batches") {
			b := Batch{ClusterID: testCluster, Epoch: rapid.Int64Range(0, 4).Draw(t, "epoch"), Complete: rapid.Bool().Draw(t, "complete")}
			domain := rapid.SampledFrom([]string{"a.org", "b.org"}).Draw(t, "domain")
			generation := rapid.Int64Range(0, 6).Draw(t, "generation")
			if rapid.Bool().Draw(t, "delete") {
				b.Deleted = []Tombstone{{domain, generation}}
			} else {
				r := aRoute(generation)
				r.Domain = domain
				r.State = rapid.SampledFrom([]State{Serving, Held}).Draw(t, "state")
				b.Routes = []Route{r}
			}
			next, ack, err := h.plan(b)
			if (err != nil) != (b.Epoch < epoch) {
				t.Fatalf("epoch %d after %d: %v", b.Epoch, epoch, err)
			}
			if err != nil {
				continue
			}
			h, epoch = next, b.Epoch
			now := max(h.routes[domain].Generation, h.deleted[domain])
			if now < highest[domain] {
				t.Fatalf("%s went from %d back to %d", domain, highest[domain], now)
			}
			if g, ok := ack.Applied[domain]; ok && g != now {
				t.Fatalf("%s acknowledged at %d, in force %d", domain, g, now)
			}
			highest[domain] = now
		}
	})
}
