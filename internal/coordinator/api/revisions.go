package api

import (
	"context"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
)

type revisionService struct {
	cv1.UnimplementedRevisionServiceServer
	*Server
}

// ListRevisions returns a page of revisions, newest first.
func (s *revisionService) ListRevisions(ctx context.Context, m *cv1.ListRevisionsRequest) (*cv1.ListRevisionsResponse, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetContainer())
	if err != nil {
		return nil, err
	}
	items, next, err := pageDown(ctx, s.Server, records.Revisions, records.RevisionsPrefix(k), m)
	if err != nil {
		return nil, err
	}
	out := &cv1.ListRevisionsResponse{NextPageToken: next}
	for _, item := range items {
		out.Revisions = append(out.Revisions, revisionMessage(item.Value))
	}
	return out, nil
}

// GetRevision returns one revision with its config file.
func (s *revisionService) GetRevision(ctx context.Context, m *cv1.GetRevisionRequest) (*cv1.GetRevisionResponse, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetContainer())
	if err != nil {
		return nil, err
	}
	r, err := s.cfg.Records.Revision(ctx, k, m.GetNumber())
	if err != nil {
		return nil, err
	}
	return &cv1.GetRevisionResponse{Revision: revisionMessage(r), Config: r.Config}, nil
}
