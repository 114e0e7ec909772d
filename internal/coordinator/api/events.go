package api

import (
	"context"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
)

type eventService struct {
	cv1.UnimplementedEventServiceServer
	*Server
}

func (s *Server) eventPrefix(ctx context.Context, org, container string) (string, error) {
	if org == "" {
		org = noOrg
	}
	if container == "" {
		return records.EventPrefix + org + "/", nil
	}
	k, err := s.key(ctx, org, container)
	return records.EventsOf(k), err
}

// ListEvents returns a page of events, oldest first.
func (s *eventService) ListEvents(ctx context.Context, m *cv1.ListEventsRequest) (*cv1.ListEventsResponse, error) {
	prefix, err := s.eventPrefix(ctx, m.GetOrg(), m.GetContainer())
	if err != nil {
		return nil, err
	}
	items, next, err := page(ctx, s.Server, records.Events, prefix, m)
	if err != nil {
		return nil, err
	}
	out := &cv1.ListEventsResponse{NextPageToken: next}
	for _, item := range items {
		out.Events = append(out.Events, eventMessage(item))
	}
	return out, nil
}

// WatchEvents sends the events that are kept, and new ones.
func (s *eventService) WatchEvents(m *cv1.WatchEventsRequest, stream grpc.ServerStreamingServer[cv1.WatchEventsResponse]) error {
	prefix, err := s.eventPrefix(stream.Context(), m.GetOrg(), m.GetContainer())
	if err != nil {
		return err
	}
	send := func(r *cv1.WatchEventsResponse, token string) error {
		r.ResumeToken = token
		return wrapSend(stream.Send(r))
	}
	bookmark := func(token string) error {
		return send(&cv1.WatchEventsResponse{Event: &cv1.WatchEventsResponse_Bookmark{Bookmark: &cv1.Bookmark{}}}, token)
	}
	return watch(stream.Context(), s.Server, records.Events, prefix, m.GetResumeToken(), sink[model.Event]{
		changed: func(item records.Item[model.Event], token string) error {
			return send(&cv1.WatchEventsResponse{Event: &cv1.WatchEventsResponse_Happened{Happened: eventMessage(item)}}, token)
		},
		// Old events make room for new ones; that is no news.
		deleted: func(_ string, _ int64, token string) error { return skip(token, bookmark) },
		synced: func(token string) error {
			return send(&cv1.WatchEventsResponse{Event: &cv1.WatchEventsResponse_Synced{Synced: &cv1.Synced{}}}, token)
		},
		bookmark: bookmark,
	})
}
