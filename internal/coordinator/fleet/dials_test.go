package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	// cut says that no host can be reached.
	cut bool

	mu                  sync.Mutex
	dialling, most, all int
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

func (n *network) dial(string) (Conn, error) { return &line{n: n}, nil }

// line is the connection to a host without enclaves.
type line struct {
	grpc.ClientConnInterface
	n *network
}

func (*line) Close() error { return nil }

// NewStream connects and begins a watch.
func (l *line) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	l.n.mu.Lock()
	l.n.dialling++
	l.n.all++
	l.n.most = max(l.n.most, l.n.dialling)
	takes := time.Duration(l.n.dialling) * l.n.each
	if l.n.cut {
		takes = gives
	}
	l.n.mu.Unlock()
	wait(ctx, min(takes, gives))
	l.n.mu.Lock()
	l.n.dialling--
	l.n.mu.Unlock()
	if takes >= gives {
		return nil, errors.New("no answer")
	}
	return &stream{ctx: ctx, first: []*agentv1.WatchEnclavesResponse{
		{Event: &agentv1.WatchEnclavesResponse_Host{Host: facts(8)}},
		{Event: &agentv1.WatchEnclavesResponse_Synced{Synced: &agentv1.EnclavesSynced{}}},
	}}, nil
}

// stream tells of the host, and nothing more.
type stream struct {
	grpc.ClientStream
	ctx   context.Context
	first []*agentv1.WatchEnclavesResponse
}

func (*stream) SendMsg(any) error { return nil }
func (*stream) CloseSend() error  { return nil }

func (s *stream) RecvMsg(m any) error {
	if len(s.first) == 0 {
		<-s.ctx.Done()
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
		h := &heard{}
		f, err := New(Config{
			Log: slog.New(slog.DiscardHandler), ClusterID: "c1", Epoch: 3, Dial: n.dial, Now: time.Now, Silent: patience,
			Profiles: []agentv1.CvmProfile{agentv1.CvmProfile_CVM_PROFILE_NONE},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.dials = make(dials, turns)
		f.SetSink(h)
		for i := range hosts {
			name := fmt.Sprintf("h%d", i)
			if err := f.Add(model.Host{Name: name, Address: name}); err != nil {
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
	n := &network{cut: true}
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
		d, began := make(dials, 1), time.Now()
		first, err := d.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		second, err := d.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != dialPatience {
			t.Errorf("the next host's turn came after %s, want %s", waited, dialPatience)
		}
		first() // it tells at last; the turn is the other's
		if len(d) != 1 {
			t.Error("the turn that was over was ended again")
		}
		second()
		if len(d) != 0 {
			t.Error("the turn did not end")
		}
	})
}
