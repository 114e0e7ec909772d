package cli

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
	"github.com/casemate-dev/casemate/internal/rpc"
)

type fleetUpdates struct {
	cv1.UnimplementedUpdateServiceServer
	*fleet
}

func (f fleetUpdates) PlanUpdate(_ context.Context, m *cv1.PlanUpdateRequest) (*cv1.PlanUpdateResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	return &cv1.PlanUpdateResponse{Plan: f.plan()}, nil
}

func (f fleetUpdates) StartUpdate(_ context.Context, m *cv1.StartUpdateRequest) (*cv1.StartUpdateResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	u, err := f.begin(m.GetPlanEtag())
	return &cv1.StartUpdateResponse{Update: u, Plan: u.GetPlan()}, err
}

func (f fleetUpdates) current() *cv1.Update {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.script[f.reached]
}

func (f fleetUpdates) GetUpdate(_ context.Context, m *cv1.GetUpdateRequest) (*cv1.GetUpdateResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	return &cv1.GetUpdateResponse{Update: f.current()}, nil
}

// ListUpdates gives one update a page.
func (f fleetUpdates) ListUpdates(_ context.Context, m *cv1.ListUpdatesRequest) (*cv1.ListUpdatesResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	i, err := position(m.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &cv1.ListUpdatesResponse{Updates: f.history[i+1 : i+2]}
	if i+2 < len(f.history) {
		out.NextPageToken = token(i + 1)
	}
	return out, nil
}

func (f fleetUpdates) WatchUpdates(m *cv1.WatchUpdatesRequest, s grpc.ServerStreamingServer[cv1.WatchUpdatesResponse]) error {
	if err := f.took(m); err != nil {
		return err
	}
	i, err := position(m.GetResumeToken())
	if err != nil {
		return err
	}
	if i < 0 {
		i = f.snapshot()
		if err := s.Send(changed(f.current(), "")); err != nil {
			return err
		}
		if err := s.Send(&cv1.WatchUpdatesResponse{Event: &cv1.WatchUpdatesResponse_Synced{Synced: &cv1.Synced{}}, ResumeToken: token(i)}); err != nil {
			return err
		}
	}
	for {
		i++
		u, more, err := f.state(i)
		if err != nil {
			return err
		}
		if !more {
			return f.idle(s.Context())
		}
		if err := s.Send(changed(u, token(i))); err != nil {
			return err
		}
	}
}

func (f *fleet) snapshot() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reached
}

func changed(u *cv1.Update, token string) *cv1.WatchUpdatesResponse {
	if u == nil {
		gone := &cv1.Deleted{Org: "default", Name: "web-u4"}
		return &cv1.WatchUpdatesResponse{Event: &cv1.WatchUpdatesResponse_Deleted{Deleted: gone}, ResumeToken: token}
	}
	return &cv1.WatchUpdatesResponse{Event: &cv1.WatchUpdatesResponse_Changed{Changed: u}, ResumeToken: token}
}

func (f fleetUpdates) AcceptUpdate(_ context.Context, m *cv1.AcceptUpdateRequest) (*cv1.AcceptUpdateResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	u := f.current()
	switch {
	case m.GetId() != u.GetId() || m.GetEtag() != u.GetEtag():
		return nil, rpc.Error(codes.Aborted, "ETAG_MISMATCH", "the update has changed since it was read: read it again and repeat")
	case !view.Waits(u):
		return nil, rpc.Precondition("NOT_READY", u.GetId(), "update web-u4 is in step HEALTH: wait until it is READY")
	}
	return &cv1.AcceptUpdateResponse{Update: f.goOn(f.accepted)}, nil
}

// goOn continues with another script.
func (f *fleet) goOn(script []*cv1.Update) *cv1.Update {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script[:f.reached+1:f.reached+1], script...)
	f.reached++
	return f.script[f.reached]
}

func (f fleetUpdates) CancelUpdate(_ context.Context, m *cv1.CancelUpdateRequest) (*cv1.CancelUpdateResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	return &cv1.CancelUpdateResponse{Update: f.goOn(f.cancelled)}, nil
}

func (f fleetUpdates) ForceUpdate(_ context.Context, m *cv1.ForceUpdateRequest) (*cv1.ForceUpdateResponse, error) {
	if err := f.took(m); err != nil {
		return nil, err
	}
	if m.GetStep() != f.current().GetStep() {
		return nil, rpc.Precondition("STEP_CHANGED", m.GetId(), "the update is in another step by now: look again")
	}
	return &cv1.ForceUpdateResponse{Update: f.current()}, nil
}
