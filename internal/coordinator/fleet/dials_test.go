package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// network is what lies between a coordinator and many hosts. Connecting costs the
// coordinator work: the more hosts it connects to at a time, the longer each takes.
type network struct {
	// each is how long one host takes alone.
	each time.Duration
	// places is how many are dialled at a time, turns if it is 0.
	places int

	mu                  sync.Mutex
	dialling, most, all int
	// cut are the hosts that can't be reached, if they are not all; agents that are
	// down refuse at once. What is open breaks with broken.
	cutAll, down bool
	cut          map[string]bool
	broken       chan struct{}
	// noted is what is on record of the hosts.
	noted noted
}

// turns are as many as a fleet dials at a time here.
const turns = 16

// gives is how long a host may take to answer: as long as gRPC waits.
const gives = 5 * time.Second

// seen returns the most hosts that were ever connected to at once, and how often
// one was.
func (n *network) seen() (most, all int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.most, n.all
}

// set changes what can be reached.
func (n *network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// restart takes every agent that can be reached down, and up again after d.
func (n *network) restart(d time.Duration) {
	n.set(func() {
		close(n.broken)
		n.broken, n.down = make(chan struct{}), true
	})
	time.Sleep(d)
	n.set(func() { n.down = false })
}

func (n *network) dial(host string) (Conn, error) { return &line{n: n, host: host}, nil }

// line is the connection to a host without enclaves.
type line struct {
	grpc.ClientConnInterface
	n    *network
	host string
}

func (*line) Close() error { return nil }

// NewStream connects and begins a watch.
func (l *line) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	l.n.mu.Lock()
	l.n.dialling++
	l.n.all++
	l.n.most = max(l.n.most, l.n.dialling)
	takes, broken := time.Duration(l.n.dialling)*l.n.each, l.n.broken
	if l.n.cutAll || l.n.cut[l.host] {
		takes = gives
	}
	refused := l.n.down && takes < gives
	l.n.mu.Unlock()
	wait(ctx, min(takes, gives))
	l.n.mu.Lock()
	l.n.dialling--
	l.n.mu.Unlock()
	if takes >= gives || refused {
		return nil, errors.New("no answer")
	}
	return &stream{ctx: ctx, broken: broken, first: []*agentv1.WatchEnclavesResponse{
		{Event: &agentv1.WatchEnclavesResponse_Host{Host: facts(8)}},
		{Event: &agentv1.WatchEnclavesResponse_Synced{Synced: &agentv1.EnclavesSynced{}}},
	}}, nil
}

// stream tells of the host, and nothing more.
type stream struct {
	grpc.ClientStream
	ctx    context.Context
	broken chan struct{}
	first  []*agentv1.WatchEnclavesResponse
}

func (*stream) SendMsg(any) error { return nil }
func (*stream) CloseSend() error  { return nil }

func (s *stream) RecvMsg(m any) error {
	if len(s.first) == 0 {
		select {
		case <-s.ctx.Done():
		case <-s.broken:
		}
		return io.EOF
	}
	m.(*agentv1.WatchEnclavesResponse).Event = s.first[0].GetEvent()
	s.first = s.first[1:]
	return nil
}

// crowd runs a fleet of many hosts, on each of which room is promised.
func crowd(t *testing.T, n *network, hosts int, then func(f *Fleet, h *heard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n.broken = make(chan struct{})
		h := &heard{}
		f, err := New(Config{
			Log: slog.New(slog.DiscardHandler), ClusterID: "c1", Epoch: 3, Dial: n.dial, Note: n.noted.note, Now: time.Now, Silent: patience,
			Profiles: []agentv1.CvmProfile{agentv1.CvmProfile_CVM_PROFILE_NONE},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.dials = newDials(cmp.Or(n.places, turns))
		f.SetSink(h)
		for i := range hosts {
			name := fmt.Sprintf("h%d", i)
			if err := f.AddKnown(model.Host{Name: name, Address: name}, n.noted.of(name)); err != nil {
				t.Fatal(err)
			}
			f.Promise(model.Reservation{Enclave: "e-" + name, Host: name, Org: "acme", Container: "api"})
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		then(f, h)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// silent counts the hosts that are told to be silent.
func silent(h *heard) int {
	n := 0
	for _, s := range h.take() {
		if s.State == model.EnclaveSilent {
			n++
		}
	}
	return n
}

func TestHostsThatAnswerAreNotSilentBecauseThereAreMany(t *testing.T) {
	const hosts = 4 * turns
	// All of them together would take longer than any may.
	n := &network{each: 2 * gives / hosts}
	crowd(t, n, hosts, func(f *Fleet, h *heard) {
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if most, all := n.seen(); most != turns || all != hosts {
			t.Errorf("%d hosts were dialled %d times, %d at once, want once each, %d at once", hosts, all, most, turns)
		}
		if got := f.Census().Hosts[Ready]; got != hosts {
			t.Errorf("%d of %d hosts are ready", got, hosts)
		}
		if got := silent(h); got != 0 {
			t.Errorf("%d hosts are told to be silent, which all answer", got)
		}
	})
}

func TestWaitingForItsTurnIsNoSilenceOfAHost(t *testing.T) {
	const hosts = 4 * turns
	n := &network{cutAll: true}
	crowd(t, n, hosts, func(_ *Fleet, h *heard) {
		// Each has been dialled twice at most, and waits for a third time.
		time.Sleep(2*hosts/turns*gives - time.Second)
		synctest.Wait()
		if got := silent(h); got != 0 {
			t.Errorf("%d hosts are told to be silent before they were tried for long enough", got)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if got := silent(h); got < hosts {
			t.Errorf("word of silence came %d times, want it of each of %d hosts", got, hosts)
		}
		if most, _ := n.seen(); most != turns {
			t.Errorf("%d hosts were dialled at once, want %d", most, turns)
		}
	})
}

func TestAHostThatTellsNothingHoldsUpNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, began := newDials(1), time.Now()
		first, err := d.begin(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		second, err := d.begin(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != dialPatience {
			t.Errorf("the next host's turn came after %s, want %s", waited, dialPatience)
		}
		first() // it tells at last; the turn is the other's
		if d.free != 0 {
			t.Error("the turn that was over was ended again")
		}
		second()
		if d.free != 1 {
			t.Error("the turn did not end")
		}
	})
}

// inLine has hosts wait for the only place, and returns how to take the place of
// the one before.
func inLine(t *testing.T, d *dials, likely, unlikely int) (next func() (wasLikely bool)) {
	t.Helper()
	type got struct {
		likely bool
		done   func()
	}
	come := make(chan got)
	done, err := d.begin(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range likely + unlikely {
		go func() {
			done, err := d.begin(t.Context(), i < likely)
			if err != nil {
				t.Error(err)
				return
			}
			come <- got{i < likely, done}
		}()
	}
	synctest.Wait()
	return func() bool {
		done()
		g := <-come
		done = g.done
		return g.likely
	}
}

func TestHostsThatAreLikelyToAnswerGoFirstAndDontStarveTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := inLine(t, newDials(1), 6, 3)
		var got []bool
		for range 9 {
			got = append(got, next())
		}
		if want := []bool{true, true, true, false, true, true, true, false, false}; !slices.Equal(got, want) {
			t.Errorf("likely hosts went %v, want %v", got, want)
		}
	})
}

func TestWhoeverWaitsNoLongerTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDials(1)
		first, err := d.begin(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := d.begin(ctx, true)
			left <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("whoever waits no longer got %v", err)
		}
		given := d.line(true)
		first()
		select {
		case <-given.come:
		default:
			t.Error("the next in line did not get the place")
		}
		d.leave(given) // just as its turn has come
		if d.free != 1 {
			t.Errorf("%d places are free, want the only one", d.free)
		}
	})
}

// found waits until so many hosts are ready, and returns how long that took.
func found(t *testing.T, f *Fleet, hosts int) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < time.Hour {
		if f.Census().Hosts[Ready] == hosts {
			return time.Since(began)
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
	}
	t.Fatalf("%d of %d hosts are ready after an hour", f.Census().Hosts[Ready], hosts)
	return 0
}

// large is a network of many hosts, of which one in a hundred can be reached.
func large() (n *network, hosts int, round time.Duration) {
	hosts, places := 10_000, dialsAtOnce
	if raceEnabled { // it fails with thousands of goroutines
		hosts, places = hosts/20, places/20
	}
	n = &network{places: places, cut: map[string]bool{}}
	for i := range hosts {
		n.cut[fmt.Sprintf("h%d", i)] = i%100 > 0
	}
	return n, hosts, time.Duration(hosts/places+1) * gives
}

func TestHostsThatAnswerAreFoundAmongThousandsThatDoNot(t *testing.T) {
	n, hosts, round := large()
	answer := hosts / 100
	crowd(t, n, hosts, func(f *Fleet, _ *heard) {
		if took := found(t, f, answer); took > round {
			t.Errorf("%d hosts among %d of which nothing is known were found after %s, want them within %s", answer, hosts, took, round)
		}
		time.Sleep(2 * round) // which of them don't answer is known
		n.restart(3 * time.Second)
		// A pause of up to 7.5 s between two tries, and a place.
		if took, limit := found(t, f, answer), 8*time.Second+dialPatience; took > limit {
			t.Errorf("%d agents that were restarted were found after %s, want them within %s", answer, took, limit)
		}
		n.set(func() { n.cut["h1"] = false })
		if took, limit := found(t, f, answer+1), gives+8*time.Second+round; took > limit {
			t.Errorf("a host that answers again was found after %s, want it within %s", took, limit)
		}
	})
}

func TestHostsThatAnsweredTheCoordinatorBeforeAreFoundFirst(t *testing.T) {
	n, hosts, _ := large()
	n.noted.machines = map[string]model.Machine{}
	for host, cut := range n.cut {
		if cut {
			n.noted.machines[host] = model.Machine{Silent: time.Unix(0, 0)}
		}
	}
	crowd(t, n, hosts, func(f *Fleet, _ *heard) {
		if took, limit := found(t, f, hosts/100), dialPatience; took > limit {
			t.Errorf("%d hosts that answer were found after %s, want them within %s, a turn of one that does not", hosts/100, took, limit)
		}
	})
}
