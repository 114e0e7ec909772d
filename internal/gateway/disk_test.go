package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openAt(t *testing.T, path, cluster string) *Routes {
	t.Helper()
	r, err := OpenRoutes(RoutesConfig{Path: path, ClusterID: cluster, Logger: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoutesSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.json")
	first := openAt(t, path, "")
	held := aRoute(4)
	held.Domain, held.State, held.HoldTimeout = "b.example.org", Held, 90*time.Second
	if _, err := first.Apply(t.Context(), Batch{
		ClusterID: testCluster, Epoch: 5, Routes: []Route{aRoute(3), held}, Deleted: []Tombstone{{"c.example.org", 8}},
	}); err != nil {
		t.Fatal(err)
	}
	second := openAt(t, path, "")
	if diff := cmp.Diff(first.Table().Routes(), second.Table().Routes()); diff != "" {
		t.Errorf("routes changed over a restart:\n%s", diff)
	}
	if !second.Table().Unconfirmed(testDomain) {
		t.Error("a route from the disk counts as confirmed")
	}
	if _, err := second.Apply(t.Context(), Batch{ClusterID: testCluster, Epoch: 4}); !errors.Is(err, ErrStaleEpoch) {
		t.Errorf("older epoch after a restart: %v, want it refused", err)
	}
	if _, err := second.Apply(t.Context(), Batch{ClusterID: "cluster-b", Epoch: 9}); !errors.Is(err, ErrForeignCluster) {
		t.Errorf("another cluster after a restart: %v, want it refused", err)
	}
	back := aRoute(8)
	back.Domain = "c.example.org"
	ack, err := second.Apply(t.Context(), Batch{ClusterID: testCluster, Epoch: 5, Routes: []Route{back, aRoute(2)}})
	if err != nil || len(ack.Refused) != 2 {
		t.Errorf("a deleted and an outdated route after a restart: %+v, %v; want both refused", ack, err)
	}
}

func TestBadEntryDiscardsItselfOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.json")
	good := `{"domain":"api.example.org","generation":3,"state":"serving","enclave":"a","endpoint":"192.0.2.1:443"}`
	for rule, bad := range map[string]string{
		"a bad state":       strings.Replace(good, "serving", "paused", 1),
		"an unknown key":    strings.Replace(good, `"state"`, `"color":"red","state"`, 1),
		"another type":      `17`,
		"the same domain":   good,
		"a bad hold":        strings.Replace(good, `"state"`, `"hold_timeout":"soon","state"`, 1),
		"a deleted route":   strings.Replace(good, "api", "gone", 1),
		"no generation":     `{"domain":"x.example.org","state":"closed"}`,
		"a broken endpoint": strings.Replace(good, ":443", "", 1),
	} {
		file := `{"format":1,"cluster_id":"cluster-a","epoch":2,"routes":[` + good + `,` + bad +
			`],"tombstones":[{"domain":"gone.example.org","generation":9},{"domain":"-","generation":1},{"domain":"y.org","generation":0}]}`
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		r := openAt(t, path, "")
		if routes := r.Table().Routes(); len(routes) != 1 || routes[0].Generation != 3 || r.badFiles != 3 {
			t.Errorf("%s: loaded %+v with %d faults, want the good route and 3 faults", rule, routes, r.badFiles)
		}
	}
}

func TestCorruptFileIsSetAside(t *testing.T) {
	for rule, content := range map[string]string{
		"empty":              "",
		"cut off":            `{"format":1,"cluster_id":"cluster-a","epoch":2,"routes":[{"dom`,
		"no JSON":            "\x00\x01\x02",
		"something behind":   `{"format":1,"cluster_id":"a","epoch":2,"routes":[],"tombstones":[]} x`,
		"another format":     `{"format":2,"cluster_id":"a","epoch":2,"routes":[],"tombstones":[]}`,
		"an unknown key":     `{"format":1,"cluster_id":"a","epoch":2,"routes":[],"tombstones":[],"x":1}`,
		"a negative epoch":   `{"format":1,"cluster_id":"a","epoch":-1,"routes":[],"tombstones":[]}`,
		"a list at the root": `[]`,
	} {
		path := filepath.Join(t.TempDir(), "routes.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r := openAt(t, path, testCluster)
		if n := r.Table().Len(); n != 0 || r.badFiles != 1 {
			t.Errorf("%s: %d routes and %d faults, want none and 1", rule, n, r.badFiles)
		}
		if kept, err := os.ReadFile(path + ".corrupt"); err != nil || string(kept) != content {
			t.Errorf("%s: not set aside: %v", rule, err)
		}
		apply(t, r, aRoute(1))
		if openAt(t, path, testCluster).Table().Len() != 1 {
			t.Errorf("%s: routes are not kept afterwards", rule)
		}
	}
}

func TestFileOfAnotherClusterIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.json")
	apply(t, openAt(t, path, testCluster), aRoute(1))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRoutes(RoutesConfig{Path: path, ClusterID: "cluster-b", Logger: quietLog()}); !errors.Is(err, ErrForeignCluster) {
		t.Errorf("opened with %v, want it refused", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file changed (%v)", err)
	}
}

func TestBatchThatCannotBeWrittenIsInForceAndNotAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := openAt(t, filepath.Join(dir, "routes.json"), "")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(t.Context(), Batch{ClusterID: testCluster, Routes: []Route{aRoute(1)}}); err == nil {
		t.Error("acknowledged without being on disk")
	}
	if route, _ := r.Table().Route(testDomain); route.Generation != 1 {
		t.Errorf("generation %d is in force, want the one that could not be written", route.Generation)
	}
	if _, err := r.Apply(t.Context(), Batch{ClusterID: testCluster, Routes: []Route{aRoute(1)}}); err == nil {
		t.Error("acknowledged the second time, without being on disk")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if ack := apply(t, r, aRoute(1)); ack.Applied[testDomain] != 1 {
		t.Errorf("acknowledged %v once the disk is back, want generation 1", ack.Applied)
	}
	if n := openAt(t, filepath.Join(dir, "routes.json"), "").Table().Len(); n != 1 {
		t.Errorf("%d routes are on disk once it is back, want 1", n)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".routes.json.*")); err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

func TestListingShowsRoutesAndCounts(t *testing.T) {
	r := newRoutes(t, aRoute(3))
	out, err := json.Marshal(r.Listing())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"cluster_id":"cluster-a","epoch":1,"routes":[{"domain":"api.example.org","generation":3,"state":"serving",` +
		`"enclave":"a-r1-1","endpoint":"192.0.2.1:443"}],"enclaves":[{"enclave":"a-r1-1","open":0,"draining":false,` +
		`"routes":[{"domain":"api.example.org","generation":3,"open":0}]}]}`
	if string(out) != want {
		t.Errorf("listing\n%s\nwant\n%s", out, want)
	}
}

func FuzzRoutesFileIsReadOrRefused(f *testing.F) {
	h, _, err := newHeld("").plan(Batch{ClusterID: testCluster, Epoch: 1, Routes: []Route{aRoute(1)}, Deleted: []Tombstone{{"x.org", 2}}})
	if err != nil {
		f.Fatal(err)
	}
	raw, err := h.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"format":1,"routes":[1,null,{}],"tombstones":[{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, _, err := decodeHeld(raw)
		if err != nil {
			return
		}
		out, err := h.encode()
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		again, bad, err := decodeHeld(out)
		if err != nil || len(bad) > 0 || !again.sameOnDisk(h) {
			t.Errorf("read, written and read again it differs: %v, %v", bad, err)
		}
	})
}

// Interrupted waits for dials are made up for by the next batch.
func TestApplyWaitsForDialsAlsoAfterAnInterruptedBatch(t *testing.T) {
	r := newRoutes(t, aRoute(1))
	e := r.Table().lookup([]byte(testDomain))
	if !e.enter() {
		t.Fatal("a route in force takes no dial")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := Batch{ClusterID: testCluster, Epoch: 1, Routes: []Route{aRoute(2)}}
	if _, err := r.Apply(ctx, b); !errors.Is(err, context.Canceled) {
		t.Fatalf("acknowledged with a dial under way: %v", err)
	}
	if e.enter() {
		t.Error("a replaced route takes another dial")
	}
	e.joined()
	acks := make(chan Ack)
	go func() {
		ack, err := r.Apply(context.WithoutCancel(ctx), b)
		if err != nil {
			t.Errorf("second apply: %v", err)
		}
		acks <- ack
	}()
	e.leave()
	<-acks
	if n := r.Open("a-r1-1"); n != 1 {
		t.Errorf("%d connections counted, want the one that was joined", n)
	}
	e.parted()
}
