package api

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/gateways"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

type routeService struct {
	cv1.UnimplementedRouteServiceServer
	*Server
}

// ListRoutes returns a page of routes; deleted ones are left out.
func (s *routeService) ListRoutes(ctx context.Context, m *cv1.ListRoutesRequest) (*cv1.ListRoutesResponse, error) {
	items, next, err := page(ctx, s.Server, records.Routes, records.RoutePrefix, m)
	if err != nil {
		return nil, err
	}
	out := &cv1.ListRoutesResponse{NextPageToken: next}
	for _, item := range items {
		if !item.Value.Deleted {
			out.Routes = append(out.Routes, routeMessage(item.Value))
		}
	}
	return out, nil
}

// WatchRoutes sends routes and their changes; a gateway is present while it
// watches.
func (s *routeService) WatchRoutes(m *cv1.WatchRoutesRequest, stream grpc.ServerStreamingServer[cv1.WatchRoutesResponse]) error {
	if m.GetGateway() != "" {
		if err := s.remember(stream.Context(), m.GetGateway()); err != nil {
			return err
		}
		defer s.cfg.Gateways.Connect(m.GetGateway())()
	}
	send := func(r *cv1.WatchRoutesResponse, token string) error {
		r.ResumeToken, r.Fence = token, s.fence()
		return wrapSend(stream.Send(r))
	}
	return watch(stream.Context(), s.Server, records.Routes, records.RoutePrefix, m.GetResumeToken(), sink[model.Route]{
		changed: func(item records.Item[model.Route], token string) error {
			if r := item.Value; r.Deleted {
				return send(&cv1.WatchRoutesResponse{Event: &cv1.WatchRoutesResponse_Deleted{
					Deleted: &cv1.DeletedRoute{Domain: r.Domain, Generation: r.Generation},
				}}, token)
			}
			return send(&cv1.WatchRoutesResponse{Event: &cv1.WatchRoutesResponse_Changed{Changed: routeMessage(item.Value)}}, token)
		},
		deleted: func(key string, _ int64, token string) error {
			return send(&cv1.WatchRoutesResponse{Event: &cv1.WatchRoutesResponse_Bookmark{Bookmark: &cv1.Bookmark{}}}, token)
		},
		synced: func(token string) error {
			return send(&cv1.WatchRoutesResponse{Event: &cv1.WatchRoutesResponse_Synced{Synced: &cv1.Synced{}}}, token)
		},
		bookmark: func(token string) error {
			return send(&cv1.WatchRoutesResponse{Event: &cv1.WatchRoutesResponse_Bookmark{Bookmark: &cv1.Bookmark{}}}, token)
		},
	})
}

// rememberEvery is how often a gateway's record is refreshed at most.
const rememberEvery = time.Hour

// remember records a gateway, so that a coordinator that starts waits for it.
func (s *routeService) remember(ctx context.Context, name string) error {
	key := records.GatewayKey(name)
	now := s.cfg.Now().UTC()
	item, err := records.Get(ctx, s.cfg.Records, records.Gateways, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil && now.Sub(item.Value.Seen) < rememberEvery {
		return nil
	}
	op, err := records.Put(records.Gateways, key, model.Gateway{Name: name, Seen: now})
	if err != nil {
		return err
	}
	_, err = s.cfg.Records.Commit(ctx, nil, []store.Op{op})
	return err
}

// AcknowledgeRoutes takes a gateway's report.
func (s *routeService) AcknowledgeRoutes(_ context.Context, m *cv1.AcknowledgeRoutesRequest) (*cv1.AcknowledgeRoutesResponse, error) {
	acks := make([]gateways.Ack, len(m.GetRoutes()))
	for i, r := range m.GetRoutes() {
		acks[i] = gateways.Ack{Domain: strings.ToLower(r.GetDomain()), Generation: r.GetGeneration()}
	}
	connections := make([]gateways.Connections, len(m.GetConnections()))
	for i, c := range m.GetConnections() {
		connections[i] = gateways.Connections{Enclave: c.GetEnclave(), Open: c.GetOpen()}
	}
	s.cfg.Gateways.Acknowledge(m.GetGateway(), acks, connections)
	return &cv1.AcknowledgeRoutesResponse{}, nil
}
