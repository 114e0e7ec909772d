package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// named answers every call with its name, and streams until the caller has
// enough.
type named struct {
	cv1.UnimplementedSecretServiceServer
	cv1.UnimplementedEventServiceServer
	name string
}

func (n named) GetSecret(context.Context, *cv1.GetSecretRequest) (*cv1.GetSecretResponse, error) {
	return &cv1.GetSecretResponse{Secret: &cv1.Secret{Name: n.name}}, nil
}

func (n named) WatchEvents(_ *cv1.WatchEventsRequest, s grpc.ServerStreamingServer[cv1.WatchEventsResponse]) error {
	if err := s.Send(&cv1.WatchEventsResponse{}); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

// up serves at an address until the function returned is called, and returns where
// that is.
func up(t *testing.T, address, name string) (at string, down func()) {
	t.Helper()
	l, err := Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	cv1.RegisterSecretServiceServer(s, named{name: name})
	cv1.RegisterEventServiceServer(s, named{name: name})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	down = sync.OnceFunc(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	t.Cleanup(down)
	if strings.HasPrefix(address, "unix:") {
		return address, down
	}
	return l.Addr().String(), down
}

func newPool(t *testing.T) *Pool {
	t.Helper()
	p, err := NewPool()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func socket(t *testing.T, name string) string {
	return "unix://" + filepath.Join(t.TempDir(), name)
}

func whoAnswers(ctx context.Context, p *Peer) (string, error) {
	r, err := cv1.NewSecretServiceClient(p).GetSecret(ctx, &cv1.GetSecretRequest{Org: "acme", Name: "KEY"})
	return r.GetSecret().GetName(), err
}

func TestEveryPeerOfAPoolIsReachedAtItsOwnAddress(t *testing.T) {
	pool := newPool(t)
	peers := map[string]*Peer{}
	for name, address := range map[string]string{"one": socket(t, "1"), "two": socket(t, "2"), "three": "127.0.0.1:0"} {
		at, _ := up(t, address, name)
		peers[name] = pool.Dial(at)
	}
	var all sync.WaitGroup
	for name, p := range peers {
		for range 20 {
			all.Go(func() {
				if got, err := whoAnswers(t.Context(), p); err != nil || got != name {
					t.Errorf("a call to %s was answered by %q, %v", name, got, err)
				}
			})
		}
	}
	all.Wait()
}

func TestAPeerThatIsDownFailsAtOnceAndIsFoundAgain(t *testing.T) {
	pool, address := newPool(t), socket(t, "s")
	p := pool.Dial(address)
	if _, err := whoAnswers(t.Context(), p); Code(err) != codes.Unavailable {
		t.Errorf("a call to nobody gave %v, want UNAVAILABLE", err)
	}
	for _, name := range []string{"first", "second"} {
		_, down := up(t, address, name)
		if got := found(t, p); got != name {
			t.Errorf("%q answered, want %q", got, name)
		}
		stream, err := cv1.NewEventServiceClient(p).WatchEvents(t.Context(), &cv1.WatchEventsRequest{Org: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		down()
		if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a stream from a server that went down gave %v", err)
		}
	}
}

// found calls until a server answers.
func found(t *testing.T, p *Peer) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		got, err := whoAnswers(ctx, p)
		if err == nil {
			return got
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			t.Fatalf("nobody answered: %v", err)
		}
	}
}

func TestACallWaitsForAConnectionNoLongerThanItsContext(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newPool(t).Dial(l.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := whoAnswers(ctx, p)
		result <- err
	}()
	// It is connected and silent: gRPC waits for the server's first word.
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := <-result; Code(err) != codes.Canceled {
		t.Errorf("got %v, want CANCELLED", err)
	}
}

func TestWhatIsClosedFailsAtOnce(t *testing.T) {
	address := socket(t, "s")
	up(t, address, "s")
	pool, err := NewPool()
	if err != nil {
		t.Fatal(err)
	}
	closed, other, unused := pool.Dial(address), pool.Dial(address), pool.Dial(address)
	for _, p := range []*Peer{closed, other} {
		if _, err := whoAnswers(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := whoAnswers(t.Context(), closed); Code(err) != codes.Unavailable {
		t.Errorf("a call on a closed connection gave %v", err)
	}
	if _, err := whoAnswers(t.Context(), other); err != nil {
		t.Errorf("another connection of the pool ended with it: %v", err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Peer{other, unused} {
		if _, err := whoAnswers(t.Context(), p); err == nil {
			t.Error("a call succeeded although the pool is closed")
		}
	}
}
