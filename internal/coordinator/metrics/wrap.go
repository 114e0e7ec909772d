package metrics

import (
	"context"
	"errors"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/runner"
	"github.com/casemate-dev/casemate/internal/store"
)

// Why commits fail.
const (
	failedConflict = "conflict"
	failedFull     = "full"
	failedOther    = "other"
)

var commitFailures = []string{failedConflict, failedFull, failedOther}

// Store returns s with its commits counted.
func (m *Metrics) Store(s store.Store) store.Store { return &timedStore{s, m} }

type timedStore struct {
	store.Store
	m *Metrics
}

// Txn implements store.Store.
func (s *timedStore) Txn(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	began := time.Now()
	rev, err := s.Store.Txn(ctx, compares, ops)
	s.m.commits.Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
	case errors.Is(err, store.ErrConflict):
		s.m.failed.WithLabelValues(failedConflict).Inc()
	case errors.Is(err, store.ErrFull):
		s.m.failed.WithLabelValues(failedFull).Inc()
	default:
		s.m.failed.WithLabelValues(failedOther).Inc()
	}
	return rev, err
}

// What is judged, and with what result.
const (
	ofCandidate      = "candidate"
	ofServing        = "serving"
	resultAccepted   = "accepted"
	resultRefused    = "refused"
	resultUnanswered = "unanswered"
)

// Attestor judges enclaves: candidates, and again those that serve.
type Attestor interface {
	runner.Attestor
	runner.Judge
}

// Attestor returns a with its judgements counted.
func (m *Metrics) Attestor(a Attestor) Attestor { return &countedAttestor{a, m} }

type countedAttestor struct {
	Attestor
	m *Metrics
}

// Attest implements runner.Attestor.
func (a *countedAttestor) Attest(ctx context.Context, k model.ContainerKey, e model.EnclaveRef, r model.Revision, spec *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	v, f, err := a.Attestor.Attest(ctx, k, e, r, spec)
	a.count(ofCandidate, v, err)
	return v, f, err
}

// Judge implements runner.Judge.
func (a *countedAttestor) Judge(ctx context.Context, k model.ContainerKey, e model.EnclaveRef, r model.Revision, spec *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	v, f, err := a.Attestor.Judge(ctx, k, e, r, spec)
	a.count(ofServing, v, err)
	return v, f, err
}

func (a *countedAttestor) count(of string, v *model.Verdict, err error) {
	result := resultUnanswered
	switch {
	case v != nil && !v.Accepted:
		result = resultRefused
	case v != nil && err == nil:
		result = resultAccepted
	}
	a.m.attestations.WithLabelValues(of, result).Inc()
}
