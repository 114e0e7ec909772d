package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// Evidence keeps a guest's hardware busy, so it is asked for so often at most: a
// burst, and then once an interval for each enclave.
const (
	evidenceBurst    = 10
	evidenceInterval = 500 * time.Millisecond
)

// buckets bound how often evidence of each enclave is asked for.
type buckets struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]*bucket
}

// of returns the bucket of an enclave. Those of enclaves that are not known any
// more are dropped now and then.
func (b *buckets) of(id string, known func(id string) bool) *bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one, ok := b.all[id]; ok {
		return one
	}
	for old := range b.all {
		if !known(old) {
			delete(b.all, old)
		}
	}
	one := &bucket{now: b.now, interval: evidenceInterval, burst: evidenceBurst}
	b.all[id] = one
	return one
}

// getEvidence asks the guest for evidence over the caller's nonce, on a
// connection of its own, and returns what it said.
func (a *Agent) getEvidence(ctx context.Context, e *agentv1.Enclave, nonce [32]byte) (*agentv1.GetEvidenceResponse, error) {
	known := func(id string) bool { return a.board.get(id) != nil }
	if !a.buckets.of(e.GetId(), known).take() {
		return nil, rpc.Error(codes.ResourceExhausted, ReasonTooOften,
			fmt.Sprintf("evidence of enclave %s was asked for too often: once in %s is", e.GetId(), evidenceInterval))
	}
	ctx, cancel := context.WithTimeout(ctx, attestTime)
	defer cancel()
	guest, err := a.cfg.Dial(e.GetEndpoint())
	if err != nil {
		return nil, rpc.Error(codes.Internal, ReasonGuest, err.Error())
	}
	defer guest.Close()
	raw, key, err := guest.Attestation(ctx, nonce)
	if err != nil {
		return nil, rpc.Error(codes.Unavailable, ReasonGuest,
			fmt.Sprintf("enclave %s gave no evidence: %v", e.GetId(), err))
	}
	return &agentv1.GetEvidenceResponse{
		Document: raw, TlsKeyDigest: key[:],
		Verdict: verdictProto(a.judge(ctx, raw, nonce, key, e.GetSpec())),
	}, nil
}
