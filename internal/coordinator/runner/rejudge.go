package runner

import (
	"context"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// ErrNothingServes says that a container has no enclave whose evidence could be asked
// for.
var ErrNothingServes = errors.New("no enclave of this container serves: there is nothing to judge")

// ErrNoEvidence says that an enclave could not be asked for evidence.
var ErrNoEvidence = errors.New("the enclave could not be asked for evidence: see its log and its host's conditions")

// Rejudge asks the enclave that serves for evidence over a nonce of the
// coordinator's, and returns it with its verdict. A refusal takes effect on the
// container as the policy says. An error means that it could not be asked, which
// changes nothing.
func (r *Runner) Rejudge(ctx context.Context, k model.ContainerKey) (model.EnclaveRef, *model.Verdict, error) {
	if r.cfg.Judge == nil {
		return model.EnclaveRef{}, nil, errors.New("this coordinator judges no enclave again")
	}
	s, err := r.cfg.Records.Load(ctx, k)
	if err != nil {
		return model.EnclaveRef{}, nil, err
	}
	if s.Container.Active == nil {
		return model.EnclaveRef{}, nil, ErrNothingServes
	}
	ref := *s.Container.Active
	if o, known := r.cfg.Agents.Observe(ref.Host, ref.ID); known && o.Endpoint != "" {
		ref.Endpoint = o.Endpoint
	}
	spec, revision, err := r.spec(ctx, k, s.State, ref)
	if err != nil {
		return ref, nil, fmt.Errorf("%s: %w: %w", ref.ID, ErrNoEvidence, err)
	}
	verdict, failure, err := r.cfg.Judge.Judge(ctx, k, ref, revision, spec)
	if err != nil {
		return ref, nil, fmt.Errorf("%s: %w: %w", ref.ID, ErrNoEvidence, err)
	}
	r.post(k, engine.Rejudged{Enclave: ref.ID, Failure: failure, Close: r.cfg.CloseRefused})
	return ref, verdict, nil
}
