// Package routesource connects a gateway to its coordinator: it watches routes
// over gRPC and reports what is in effect and what still drains.
package routesource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/gateway"
)

// Bounds.
const (
	// maxRoutes is how many routes a snapshot may hold.
	maxRoutes = 1_000_000
	// perReport is how many entries one acknowledgement carries.
	perReport = 10_000
	// callTimeout bounds one acknowledgement.
	callTimeout = 10 * time.Second
	// drainInterval is the least time between two reports of a count that falls;
	// that it is zero is told at once.
	drainInterval = 250 * time.Millisecond
)

// Draining tells of enclaves that no route leads to any more; *gateway.Routes
// does.
type Draining interface {
	WatchDraining(ctx context.Context, interval time.Duration, report func([]gateway.EnclaveCount) error) error
}

// Source is a gateway.Source over gRPC.
type Source struct {
	name     string
	client   cv1.RouteServiceClient
	draining Draining
}

// New returns a source that speaks for the gateway of this name.
func New(conn grpc.ClientConnInterface, name string, draining Draining) *Source {
	return &Source{name: name, client: cv1.NewRouteServiceClient(conn), draining: draining}
}

// Watch follows the coordinator until the stream breaks or ctx ends.
func (s *Source) Watch(ctx context.Context, apply func(context.Context, gateway.Batch) (gateway.Ack, error)) error {
	g, ctx := errgroup.WithContext(ctx)
	first := make(chan struct{})
	g.Go(func() error { return s.follow(ctx, apply, first) })
	g.Go(func() error {
		select {
		case <-first:
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.draining.WatchDraining(ctx, drainInterval, func(counts []gateway.EnclaveCount) error {
			return s.report(ctx, nil, counts)
		})
	})
	return g.Wait()
}

func (s *Source) follow(ctx context.Context, apply func(context.Context, gateway.Batch) (gateway.Ack, error), first chan struct{}) error {
	stream, err := s.client.WatchRoutes(ctx, &cv1.WatchRoutesRequest{Gateway: s.name})
	if err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	snapshot := gateway.Batch{Complete: true}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the coordinator ended the watch")
		}
		if err != nil {
			return fmt.Errorf("watch routes: %w", err)
		}
		batch := gateway.Batch{}
		synced := m.GetSynced() != nil
		if snapshot.Complete {
			add(&snapshot, m)
			if len(snapshot.Routes) > maxRoutes {
				return fmt.Errorf("the coordinator has more than %d routes", maxRoutes)
			}
			if !synced {
				continue
			}
			batch, snapshot = snapshot, gateway.Batch{}
		} else if add(&batch, m); len(batch.Routes)+len(batch.Deleted) == 0 {
			continue
		}
		ack, err := apply(ctx, batch)
		if err != nil {
			return err
		}
		if err := s.acknowledge(ctx, ack); err != nil {
			return err
		}
		if synced {
			close(first)
		}
	}
}

// add takes one message into a batch.
func add(b *gateway.Batch, m *cv1.WatchRoutesResponse) {
	b.ClusterID, b.Epoch = m.GetFence().GetClusterId(), m.GetFence().GetEpoch()
	switch ev := m.GetEvent().(type) {
	case *cv1.WatchRoutesResponse_Changed:
		b.Routes = append(b.Routes, route(ev.Changed))
		b.Lost = append(b.Lost, ev.Changed.GetLostEnclaves()...)
	case *cv1.WatchRoutesResponse_Deleted:
		b.Deleted = append(b.Deleted, gateway.Tombstone{Domain: ev.Deleted.GetDomain(), Generation: ev.Deleted.GetGeneration()})
	}
}

func route(r *cv1.Route) gateway.Route {
	out := gateway.Route{
		Domain: r.GetDomain(), Generation: r.GetGeneration(), Enclave: r.GetEnclave(), Endpoint: r.GetEndpoint(),
		Container: r.GetOrg() + "/" + r.GetContainer(), HoldTimeout: r.GetHoldTimeout().AsDuration(),
	}
	switch r.GetState() {
	case cv1.RouteState_ROUTE_STATE_SERVING:
		out.State = gateway.Serving
	case cv1.RouteState_ROUTE_STATE_HELD:
		out.State = gateway.Held
	case cv1.RouteState_ROUTE_STATE_CLOSED:
		out.State = gateway.Closed
	}
	return out
}

// acknowledge reports what is in effect; the counts of what drains go with the
// first part, so that no acknowledgement is ahead of them.
func (s *Source) acknowledge(ctx context.Context, ack gateway.Ack) error {
	routes := make([]*cv1.RouteAck, 0, len(ack.Applied))
	for domain, generation := range ack.Applied {
		routes = append(routes, &cv1.RouteAck{Domain: domain, Generation: generation})
	}
	counts := ack.Draining
	for {
		n := min(len(routes), perReport)
		if err := s.report(ctx, routes[:n], counts); err != nil {
			return err
		}
		routes, counts = routes[n:], nil
		if len(routes) == 0 {
			return nil
		}
	}
}

func (s *Source) report(ctx context.Context, routes []*cv1.RouteAck, counts []gateway.EnclaveCount) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m := &cv1.AcknowledgeRoutesRequest{Gateway: s.name, Routes: routes}
	for _, c := range counts[:min(len(counts), perReport)] {
		m.Connections = append(m.Connections, &cv1.EnclaveConnections{Enclave: c.Enclave, Open: int64(c.Open)})
	}
	if _, err := s.client.AcknowledgeRoutes(ctx, m); err != nil {
		return fmt.Errorf("acknowledge routes: %w", err)
	}
	return nil
}
