package agent

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/fence"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// Register adds the agent's services to a server. The server must have Check and
// MapError of this package, and SlowCalls.
func (a *Agent) Register(r grpc.ServiceRegistrar) {
	agentv1.RegisterHostServiceServer(r, &hostService{a: a})
	agentv1.RegisterEnclaveServiceServer(r, &enclaveService{a: a})
}

// SlowCalls are the methods that may take longer than others; see rpc.Config.
func (a *Agent) SlowCalls() map[string]time.Duration {
	return map[string]time.Duration{
		agentv1.EnclaveService_PrepareEnclave_FullMethodName: a.cfg.Times.Prepare + time.Minute,
		agentv1.EnclaveService_CreateEnclave_FullMethodName:  time.Minute,
		agentv1.EnclaveService_GetEvidence_FullMethodName:    time.Minute,
	}
}

// fenced is a request of this service.
type fenced interface{ GetFence() *agentv1.Fence }

// Check admits a call's fence; see rpc.Config. That a call which changes
// something has one is a rule in the proto; one without is a person's, who may
// read.
func (a *Agent) Check(ctx context.Context, method string, req any) error {
	f, ok := req.(fenced)
	if !ok {
		return foreignMethod(method)
	}
	if f.GetFence() == nil {
		return nil
	}
	before := a.fence.Current()
	if err := a.fence.Admit(ctx, fenceOf(f)); err != nil {
		return MapError(err)
	}
	if now := a.fence.Current(); now != before {
		a.cfg.Log.Info("fence admitted", "cluster", now.Cluster, "epoch", now.Epoch)
		wake(a.changed)
	}
	if want := f.GetFence().GetIncarnation(); want != "" && want != a.incarnation {
		return otherIncarnation(a.incarnation)
	}
	return nil
}

// foreignMethod lets the services that every server has pass, and nothing else
// that nobody thought of.
func foreignMethod(method string) error {
	for _, prefix := range []string{"/grpc.health.v1.", "/grpc.reflection.", "/grpc.channelz."} {
		if len(method) > len(prefix) && method[:len(prefix)] == prefix {
			return nil
		}
	}
	return rpc.Error(codes.PermissionDenied, "UNKNOWN_METHOD", fmt.Sprintf("%s has no fence: nobody may call it", method))
}

func fenceOf(f fenced) fence.Fence {
	return fence.Fence{Cluster: f.GetFence().GetClusterId(), Epoch: f.GetFence().GetEpoch()}
}
