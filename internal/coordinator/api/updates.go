package api

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
)

type updateService struct {
	cv1.UnimplementedUpdateServiceServer
	*Server
}

// PlanUpdate says how an update would be carried out.
func (s *updateService) PlanUpdate(ctx context.Context, m *cv1.PlanUpdateRequest) (*cv1.PlanUpdateResponse, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetContainer())
	if err != nil {
		return nil, err
	}
	out, err := s.change(ctx, change{
		key: k, spec: m.GetSpec(), mask: m.GetUpdateMask(), options: optionsModel(m.GetOptions()),
		kind: model.KindUpdate, validateOnly: true,
	})
	if err != nil {
		return nil, err
	}
	return &cv1.PlanUpdateResponse{Plan: out.plan}, nil
}

// StartUpdate begins an update.
func (s *updateService) StartUpdate(ctx context.Context, m *cv1.StartUpdateRequest) (*cv1.StartUpdateResponse, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetContainer())
	if err != nil {
		return nil, err
	}
	c := change{
		request: newRequest(m.GetOrg(), "StartUpdate", m), key: k, spec: m.GetSpec(), mask: m.GetUpdateMask(),
		options: optionsModel(m.GetOptions()), kind: model.KindUpdate,
		etag: m.GetEtag(), planEtag: m.GetPlanEtag(), validateOnly: m.GetValidateOnly(),
	}
	if m.GetOptions().GetSupersede() {
		c.makeRoom = s.supersede
	}
	out, err := s.change(ctx, c)
	if err != nil {
		return nil, err
	}
	return &cv1.StartUpdateResponse{Update: out.update, Plan: out.plan}, nil
}

// supersede cancels the update in progress and waits until that one has ended.
// One that has switched is only waited for.
func (s *updateService) supersede(ctx context.Context, c *change) error {
	id := ""
	_, err := s.cfg.Runner.Do(ctx, c.key, func(_ context.Context, l *records.Loaded) (engine.Event, records.Extra, error) {
		if l.Update == nil {
			return nil, records.Extra{}, errValidated
		}
		if c.etag != "" && c.etag != etag(l.ContainerRevision) {
			return nil, records.Extra{}, etagMismatch("container")
		}
		id = l.Update.ID
		return engine.Cancel{ID: l.Update.ID, Reason: "SUPERSEDED", Text: "another update took its place"}, records.Extra{}, nil
	})
	var refused *engine.Refused
	if err != nil && !errors.Is(err, errValidated) && !errors.As(err, &refused) {
		return err
	}
	if id == "" {
		return nil
	}
	c.etag = "" // it was that of the container with the update that ends now
	return s.awaitEnd(ctx, c.key, id)
}

// awaitEnd waits until an update is in progress no more. Whether another one has
// begun meanwhile is for whoever starts the next to find.
func (s *updateService) awaitEnd(ctx context.Context, k model.ContainerKey, id string) error {
	key := records.ContainerKey(k)
	rev, err := s.cfg.Records.Store().Revision(ctx)
	if err != nil {
		return err
	}
	w, err := s.cfg.Records.Store().Watch(ctx, key, rev)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		item, err := records.Get(ctx, s.cfg.Records, records.Containers, key)
		if err != nil {
			return err
		}
		if item.Value.Update != id {
			return nil
		}
		if _, err := w.Next(ctx); err != nil {
			if ctx.Err() != nil {
				return rpc.Error(codes.DeadlineExceeded, "STILL_ENDING", fmt.Sprintf("update %s is to make room and has not ended yet: start the new one once it has", id))
			}
			return err
		}
	}
}

// GetUpdate returns one update.
func (s *updateService) GetUpdate(ctx context.Context, m *cv1.GetUpdateRequest) (*cv1.GetUpdateResponse, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetContainer())
	if err != nil {
		return nil, err
	}
	u, err := s.update(ctx, k, m.GetId())
	if err != nil {
		return nil, err
	}
	return &cv1.GetUpdateResponse{Update: u}, nil
}

func (s *Server) update(ctx context.Context, k model.ContainerKey, id string) (*cv1.Update, error) {
	if id == "" {
		c, err := records.Get(ctx, s.cfg.Records, records.Containers, records.ContainerKey(k))
		if err != nil {
			return nil, err
		}
		if id = c.Value.LastUpdate; id == "" {
			return nil, rpc.Error(codes.NotFound, "NO_UPDATE", fmt.Sprintf("container %s was never updated", k.Name))
		}
	}
	item, err := s.cfg.Records.Update(ctx, k, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, rpc.Error(codes.NotFound, "NO_SUCH_UPDATE", fmt.Sprintf("container %s has no update %q: see `casemate container update history %s`", k.Name, id, k.Name))
	}
	if err != nil {
		return nil, err
	}
	return updateMessage(&item.Value, item.Revision), nil
}

// ListUpdates returns a page of updates, newest first.
func (s *updateService) ListUpdates(ctx context.Context, m *cv1.ListUpdatesRequest) (*cv1.ListUpdatesResponse, error) {
	prefix := records.UpdatePrefix + m.GetOrg() + "/"
	if m.GetContainer() != "" {
		k, err := s.key(ctx, m.GetOrg(), m.GetContainer())
		if err != nil {
			return nil, err
		}
		prefix = records.UpdatesOf(k)
	}
	items, next, err := pageDown(ctx, s.Server, records.Updates, prefix, m)
	if err != nil {
		return nil, err
	}
	out := &cv1.ListUpdatesResponse{NextPageToken: next}
	for _, item := range items {
		out.Updates = append(out.Updates, updateMessage(&item.Value, item.Revision))
	}
	return out, nil
}

// AcceptUpdate lets traffic switch to a held candidate.
func (s *updateService) AcceptUpdate(ctx context.Context, m *cv1.AcceptUpdateRequest) (*cv1.AcceptUpdateResponse, error) {
	u, err := s.decide(ctx, decision{
		request: newRequest(m.GetOrg(), "AcceptUpdate", m), container: m.GetContainer(), id: m.GetId(),
		etag: m.GetEtag(), validateOnly: m.GetValidateOnly(),
		event: func(id string) engine.Event { return engine.Accept{ID: id} },
	})
	return &cv1.AcceptUpdateResponse{Update: u}, err
}

// CancelUpdate tears the candidate down.
func (s *updateService) CancelUpdate(ctx context.Context, m *cv1.CancelUpdateRequest) (*cv1.CancelUpdateResponse, error) {
	u, err := s.decide(ctx, decision{
		request: newRequest(m.GetOrg(), "CancelUpdate", m), container: m.GetContainer(), id: m.GetId(),
		etag: m.GetEtag(), validateOnly: m.GetValidateOnly(),
		event: func(id string) engine.Event {
			return engine.Cancel{ID: id, Reason: "CANCELLED", Text: "cancelled by a person"}
		},
	})
	return &cv1.CancelUpdateResponse{Update: u}, err
}

// ForceUpdate stops waiting in the current step.
func (s *updateService) ForceUpdate(ctx context.Context, m *cv1.ForceUpdateRequest) (*cv1.ForceUpdateResponse, error) {
	step := model.Step(m.GetStep().String()[len("UPDATE_STEP_"):])
	u, err := s.decide(ctx, decision{
		request: newRequest(m.GetOrg(), "ForceUpdate", m), container: m.GetContainer(), id: m.GetId(),
		validateOnly: m.GetValidateOnly(),
		event:        func(id string) engine.Event { return engine.Force{ID: id, Step: step} },
	})
	return &cv1.ForceUpdateResponse{Update: u}, err
}

// decision is a person's word on an update in progress.
type decision struct {
	request             request
	container, id, etag string
	validateOnly        bool
	event               func(id string) engine.Event
}

func (s *updateService) decide(ctx context.Context, d decision) (*cv1.Update, error) {
	k, err := s.key(ctx, d.request.org, d.container)
	if err != nil {
		return nil, err
	}
	id := d.id
	state, err := s.cfg.Runner.Do(ctx, k, func(ctx context.Context, l *records.Loaded) (engine.Event, records.Extra, error) {
		var extra records.Extra
		if err := d.request.check(ctx, s.cfg.Records); err != nil {
			return nil, extra, err
		}
		if id, err = s.activeID(ctx, k, l, d.id); err != nil {
			return nil, extra, err
		}
		if d.etag != "" && (l.Update == nil || d.etag != etag(l.UpdateRevision)) {
			return nil, extra, etagMismatch("update")
		}
		if d.validateOnly {
			return nil, extra, errValidated
		}
		err := d.request.record(&extra, s.Server, k.Name, id)
		return d.event(id), extra, err
	})
	if done, again := repeated(err); again {
		return s.update(ctx, k, done.Update)
	}
	if errors.Is(err, errValidated) {
		return s.update(ctx, k, id)
	}
	if err != nil {
		return nil, err
	}
	return updateMessage(state.Update, state.UpdateRevision), nil
}

// activeID returns the id given, or that of the update in progress. An update
// that has ended is told apart from one that never was.
func (s *updateService) activeID(ctx context.Context, k model.ContainerKey, l *records.Loaded, id string) (string, error) {
	if l.Update != nil && (id == "" || id == l.Update.ID) {
		return l.Update.ID, nil
	}
	if id == "" {
		return "", rpc.Precondition("NO_UPDATE_IN_PROGRESS", k.Name, fmt.Sprintf("no update of %s is in progress", k.Name))
	}
	item, err := s.cfg.Records.Update(ctx, k, id)
	if err != nil {
		return "", rpc.Error(codes.NotFound, "NO_SUCH_UPDATE", fmt.Sprintf("container %s has no update %q", k.Name, id))
	}
	u := item.Value
	reason := "UPDATE_ENDED"
	if u.Switched && !u.Restoring {
		reason = "ALREADY_SWITCHED"
	}
	return "", rpc.Precondition(reason, id, fmt.Sprintf("update %s has ended: %s %s", id, u.Status, u.Text), "update", id, "status", string(u.Status))
}
