package agent

import (
	"context"

	"google.golang.org/grpc"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// hostService tells of the host.
type hostService struct {
	agentv1.UnimplementedHostServiceServer
	a *Agent
}

// GetHost implements agentv1.HostServiceServer. Claims are told as they are now,
// GPUs as they were last seen.
func (s *hostService) GetHost(ctx context.Context, _ *agentv1.GetHostRequest) (*agentv1.GetHostResponse, error) {
	return &agentv1.GetHostResponse{Host: s.a.facts(ctx)}, nil
}

// WatchHost implements agentv1.HostServiceServer. Changes that come faster than
// they are read are merged: the last one always arrives.
func (s *hostService) WatchHost(_ *agentv1.WatchHostRequest, stream grpc.ServerStreamingServer[agentv1.WatchHostResponse]) error {
	out := newSender(stream.Context(), s.a.cfg.Times.Reader, stream.Send)
	for {
		host, changed := s.a.host.get()
		if err := out.send(&agentv1.WatchHostResponse{Host: host}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-s.a.stopping():
			return shuttingDown()
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
