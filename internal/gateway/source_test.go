package gateway

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// feed is a source that a test writes to: each stream is one connection.
type feed struct {
	streams chan chan exchange
}

type exchange struct {
	batch  Batch
	answer chan answerOf
}

type answerOf struct {
	ack Ack
	err error
}

func newFeed() *feed { return &feed{streams: make(chan chan exchange)} }

func (f *feed) Watch(ctx context.Context, apply func(context.Context, Batch) (Ack, error)) error {
	var stream chan exchange
	select {
	case stream = <-f.streams:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		select {
		case x, ok := <-stream:
			if !ok {
				return errors.New("the connection was lost")
			}
			ack, err := apply(ctx, x.batch)
			x.answer <- answerOf{ack, err}
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *feed) connect(t *testing.T) chan exchange {
	t.Helper()
	stream := make(chan exchange)
	select {
	case f.streams <- stream:
	case <-time.After(patience):
		t.Fatal("the gateway did not connect")
	}
	return stream
}

func send(t *testing.T, stream chan exchange, b Batch) answerOf {
	t.Helper()
	x := exchange{batch: b, answer: make(chan answerOf, 1)}
	select {
	case stream <- x:
	case <-time.After(patience):
		t.Fatal("the gateway does not listen")
	}
	return <-x.answer
}

func TestGatewayServesThroughALossOfItsSource(t *testing.T) {
	old, next := newEnclave(t, "a-r1-1"), newEnclave(t, "a-r2-1")
	path := filepath.Join(t.TempDir(), "routes.json")
	f := newFeed()
	g := serve(t, Config{Routes: openAt(t, path, testCluster), Source: f, SourceBackoff: Backoff{time.Millisecond, 5 * time.Millisecond}})
	batch := func(epoch int64, r Route) Batch {
		return Batch{ClusterID: testCluster, Epoch: epoch, Complete: true, Routes: []Route{r}}
	}
	stream := f.connect(t)
	if a := send(t, stream, batch(1, old.route(1))); a.err != nil || a.ack.Applied[testDomain] != 1 {
		t.Fatalf("first batch: %+v", a)
	}
	if id := g.mustConnect(t, testDomain).id; id != old.id {
		t.Errorf("reached %s, want %s", id, old.id)
	}
	close(stream)
	if err := oneVisit(g); err != nil {
		t.Errorf("without the source: %v", err)
	}
	stream = f.connect(t)
	if a := send(t, stream, batch(2, next.route(2))); a.err != nil {
		t.Fatalf("batch after the reconnect: %v", a.err)
	}
	if id := g.mustConnect(t, testDomain).id; id != next.id {
		t.Errorf("reached %s, want %s", id, next.id)
	}
	if a := send(t, stream, batch(1, old.route(3))); !errors.Is(a.err, ErrStaleEpoch) {
		t.Errorf("an older epoch: %v, want it refused", a.err)
	}
	stream = f.connect(t)
	if a := send(t, stream, Batch{ClusterID: testCluster, Epoch: 3, Complete: true}); a.err != nil {
		t.Fatal(a.err)
	}
	if err := oneVisit(g); err != nil {
		t.Errorf("after an empty listing: %v", err)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}

	again := serve(t, Config{Routes: openAt(t, path, testCluster)})
	if s := again.mustConnect(t, testDomain); s.id != next.id {
		t.Errorf("restarted without a source it reached %s, want %s", s.id, next.id)
	}
}
