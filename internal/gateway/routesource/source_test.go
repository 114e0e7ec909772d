package routesource

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/gateway"
)

// coordinator plays a script and keeps what it is told.
type coordinator struct {
	cv1.UnimplementedRouteServiceServer
	script  []*cv1.WatchRoutesResponse
	end     error
	reports chan *cv1.AcknowledgeRoutesRequest
}

func (c *coordinator) WatchRoutes(_ *cv1.WatchRoutesRequest, s grpc.ServerStreamingServer[cv1.WatchRoutesResponse]) error {
	for _, m := range c.script {
		m.Fence = &agentv1.Fence{ClusterId: "c1", Epoch: 7}
		if err := s.Send(m); err != nil {
			return err
		}
	}
	if c.end != nil {
		return c.end
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func (c *coordinator) AcknowledgeRoutes(_ context.Context, m *cv1.AcknowledgeRoutesRequest) (*cv1.AcknowledgeRoutesResponse, error) {
	c.reports <- m
	return &cv1.AcknowledgeRoutesResponse{}, nil
}

// drains reports nothing but what the test sends.
type drains chan []gateway.EnclaveCount

func (d drains) WatchDraining(ctx context.Context, _ time.Duration, report func([]gateway.EnclaveCount) error) error {
	for {
		select {
		case counts := <-d:
			if err := report(counts); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func changed(domain string, generation int64, state cv1.RouteState) *cv1.WatchRoutesResponse {
	return &cv1.WatchRoutesResponse{Event: &cv1.WatchRoutesResponse_Changed{Changed: &cv1.Route{
		Domain: domain, Generation: generation, State: state, Org: "acme", Container: "api", Enclave: "e1", Endpoint: "h:1",
	}}}
}

// lost names enclaves that were lost with their host.
func lost(m *cv1.WatchRoutesResponse, ids ...string) *cv1.WatchRoutesResponse {
	m.GetChanged().LostEnclaves = ids
	return m
}

func start(t *testing.T, c *coordinator, d drains) *Source {
	t.Helper()
	c.reports = make(chan *cv1.AcknowledgeRoutesRequest, 10)
	lis := bufconn.Listen(1 << 16)
	srv := grpc.NewServer()
	cv1.RegisterRouteServiceServer(srv, c)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return lis.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return New(conn, "gw1", d)
}

// came waits for something that a watch brings, or fails with the watch's end.
func came[T any](t *testing.T, from <-chan T, done <-chan error) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case err := <-done:
		t.Fatalf("the watch ended early: %v", err)
		panic("unreachable")
	}
}

func TestTheSnapshotIsOneBatchAndChangesFollow(t *testing.T) {
	c := &coordinator{script: []*cv1.WatchRoutesResponse{
		changed("a.example", 3, cv1.RouteState_ROUTE_STATE_SERVING),
		changed("b.example", 1, cv1.RouteState_ROUTE_STATE_HELD),
		{Event: &cv1.WatchRoutesResponse_Synced{Synced: &cv1.Synced{}}},
		{Event: &cv1.WatchRoutesResponse_Bookmark{Bookmark: &cv1.Bookmark{}}},
		lost(changed("a.example", 4, cv1.RouteState_ROUTE_STATE_CLOSED), "e0", "e1"),
		{Event: &cv1.WatchRoutesResponse_Deleted{Deleted: &cv1.DeletedRoute{Domain: "b.example", Generation: 2}}},
	}}
	s := start(t, c, make(drains))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	batches := make(chan gateway.Batch, 10)
	done := make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(_ context.Context, b gateway.Batch) (gateway.Ack, error) {
			batches <- b
			return gateway.Ack{Applied: map[string]int64{"a.example": 3}, Draining: []gateway.EnclaveCount{{Enclave: "e0", Open: 2}}}, nil
		})
	}()
	first := came(t, batches, done)
	if !first.Complete || len(first.Routes) != 2 || first.ClusterID != "c1" || first.Epoch != 7 {
		t.Errorf("first batch is %+v, want the whole snapshot of c1 in epoch 7", first)
	}
	if r := first.Routes[1]; r.State != gateway.Held || r.Container != "acme/api" {
		t.Errorf("route %+v, want it held for acme/api", r)
	}
	if b := came(t, batches, done); b.Complete || len(b.Routes) != 1 || b.Routes[0].State != gateway.Closed || !slices.Equal(b.Lost, []string{"e0", "e1"}) {
		t.Errorf("second batch is %+v, want one closed route, and e0 and e1 lost", b)
	}
	if b := came(t, batches, done); len(b.Deleted) != 1 || b.Deleted[0] != (gateway.Tombstone{Domain: "b.example", Generation: 2}) {
		t.Errorf("third batch is %+v, want one deletion", b)
	}
	r := came(t, c.reports, done)
	if r.GetGateway() != "gw1" || r.GetRoutes()[0].GetGeneration() != 3 || r.GetConnections()[0].GetOpen() != 2 {
		t.Errorf("report is %v, want the acknowledgement with what drains", r)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("the watch ended without an error")
	}
}

func TestABatchThatCantBeAppliedIsNotAcknowledged(t *testing.T) {
	c := &coordinator{script: []*cv1.WatchRoutesResponse{{Event: &cv1.WatchRoutesResponse_Synced{Synced: &cv1.Synced{}}}}}
	s := start(t, c, make(drains))
	failure := errors.New("disk full")
	err := s.Watch(t.Context(), func(context.Context, gateway.Batch) (gateway.Ack, error) { return gateway.Ack{}, failure })
	if !errors.Is(err, failure) {
		t.Errorf("got %v, want the failure to apply", err)
	}
	if len(c.reports) != 0 {
		t.Error("acknowledged what was not applied")
	}
}

func TestDrainingIsReported(t *testing.T) {
	c := &coordinator{script: []*cv1.WatchRoutesResponse{{Event: &cv1.WatchRoutesResponse_Synced{Synced: &cv1.Synced{}}}}}
	d := make(drains)
	s := start(t, c, d)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(context.Context, gateway.Batch) (gateway.Ack, error) { return gateway.Ack{}, nil })
	}()
	came(t, c.reports, done)
	select {
	case d <- []gateway.EnclaveCount{{Enclave: "e0", Open: 0}}:
	case err := <-done:
		t.Fatalf("the watch ended early: %v", err)
	}
	r := came(t, c.reports, done)
	if !slices.ContainsFunc(r.GetConnections(), func(x *cv1.EnclaveConnections) bool { return x.GetEnclave() == "e0" && x.GetOpen() == 0 }) {
		t.Errorf("report is %v, want e0 at zero", r)
	}
	cancel()
	<-done
}

func TestALostStreamEndsTheWatch(t *testing.T) {
	c := &coordinator{end: errors.New("gone")}
	s := start(t, c, make(drains))
	if err := s.Watch(t.Context(), nil); err == nil {
		t.Error("the watch went on without a stream")
	}
}
