package api

import (
	"context"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// attestLimit is how long an enclave may take to show its evidence: reports of
// several GPUs take seconds.
const attestLimit = 2 * time.Minute

// AttestContainer judges the enclave that serves, now.
func (s *containerService) AttestContainer(ctx context.Context, m *cv1.AttestContainerRequest) (*cv1.AttestContainerResponse, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetName())
	if err != nil {
		return nil, err
	}
	ref, verdict, err := s.cfg.Runner.Rejudge(ctx, k)
	if err != nil {
		return nil, err
	}
	return &cv1.AttestContainerResponse{Enclave: ref.ID, Host: ref.Host, Verdict: verdictMessage(verdict)}, nil
}
