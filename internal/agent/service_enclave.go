package agent

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

// enclaveService boots, tells of and stops enclaves.
type enclaveService struct {
	agentv1.UnimplementedEnclaveServiceServer
	a *Agent
}

// PrepareEnclave implements agentv1.EnclaveServiceServer.
func (s *enclaveService) PrepareEnclave(ctx context.Context, req *agentv1.PrepareEnclaveRequest) (*agentv1.PrepareEnclaveResponse, error) {
	if err := s.a.cfg.Policy.checkSpec(req.GetFence().GetClusterId(), req.GetSpec()); err != nil {
		return nil, err
	}
	digest, err := enclave.SpecDigest(req.GetSpec())
	if err != nil {
		return nil, rpc.FieldError("spec", ReasonSpecMismatch, err.Error())
	}
	took, err := s.a.prepare(ctx, req.GetSpec(), digest)
	if err != nil {
		return nil, err
	}
	return &agentv1.PrepareEnclaveResponse{Duration: durationpb.New(took)}, nil
}

// CreateEnclave implements agentv1.EnclaveServiceServer.
func (s *enclaveService) CreateEnclave(ctx context.Context, req *agentv1.CreateEnclaveRequest) (*agentv1.CreateEnclaveResponse, error) {
	e, err := s.a.create(ctx, fenceOf(req), req.GetId(), req.GetSpec(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &agentv1.CreateEnclaveResponse{Enclave: e}, nil
}

// GetEnclave implements agentv1.EnclaveServiceServer.
func (s *enclaveService) GetEnclave(_ context.Context, req *agentv1.GetEnclaveRequest) (*agentv1.GetEnclaveResponse, error) {
	e, err := s.a.known(req.GetId())
	if err != nil {
		return nil, err
	}
	return &agentv1.GetEnclaveResponse{Enclave: e}, nil
}

// known returns an enclave, or says that there is none.
func (a *Agent) known(id string) (*agentv1.Enclave, error) {
	if !a.isAdopted() {
		return nil, starting()
	}
	e := a.board.get(id)
	if e == nil {
		return nil, notFound(id)
	}
	return e, nil
}

// maxListBytes bounds a page: the specs in it hold config files.
const maxListBytes = rpc.MaxMessage / 2

// ListEnclaves implements agentv1.EnclaveServiceServer.
func (s *enclaveService) ListEnclaves(_ context.Context, req *agentv1.ListEnclavesRequest) (*agentv1.ListEnclavesResponse, error) {
	const scope = "enclaves"
	after, err := rpc.PageAfter(scope, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if !s.a.isAdopted() {
		return nil, starting()
	}
	resp := &agentv1.ListEnclavesResponse{}
	size, bytes := rpc.PageSize(req.GetPageSize()), 0
	for _, e := range s.a.board.list(after) {
		bytes += proto.Size(e)
		if full := len(resp.GetEnclaves()); full == size || full > 0 && bytes > maxListBytes {
			resp.NextPageToken = rpc.PageToken(scope, resp.GetEnclaves()[full-1].GetId())
			break
		}
		resp.Enclaves = append(resp.Enclaves, e)
	}
	return resp, nil
}

// StopEnclave implements agentv1.EnclaveServiceServer.
func (s *enclaveService) StopEnclave(ctx context.Context, req *agentv1.StopEnclaveRequest) (*agentv1.StopEnclaveResponse, error) {
	e, err := s.a.stop(ctx, fenceOf(req), req.GetId(), req.GetGrace().AsDuration(), req.GetReason())
	if err != nil {
		return nil, err
	}
	return &agentv1.StopEnclaveResponse{Enclave: e}, nil
}

// DeleteEnclave implements agentv1.EnclaveServiceServer.
func (s *enclaveService) DeleteEnclave(ctx context.Context, req *agentv1.DeleteEnclaveRequest) (*agentv1.DeleteEnclaveResponse, error) {
	if err := s.a.remove(ctx, fenceOf(req), req.GetId()); err != nil {
		return nil, err
	}
	return &agentv1.DeleteEnclaveResponse{}, nil
}

// GetEvidence implements agentv1.EnclaveServiceServer.
func (s *enclaveService) GetEvidence(ctx context.Context, req *agentv1.GetEvidenceRequest) (*agentv1.GetEvidenceResponse, error) {
	e, err := s.a.known(req.GetId())
	if err != nil {
		return nil, err
	}
	if e.GetEndpoint() == "" {
		return nil, rpc.Precondition(ReasonNoEndpoint, e.GetId(),
			fmt.Sprintf("enclave %s is %s and its guest does not listen", e.GetId(), stateName(e.GetState())))
	}
	return s.a.getEvidence(ctx, e, [32]byte(req.GetNonce()))
}
