package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// callTimeout bounds calls that an agent answers at once.
const callTimeout = 15 * time.Second

func (f *Fleet) client(host string) (agentv1.EnclaveServiceClient, error) {
	s, err := f.session(host)
	if err != nil {
		return nil, err
	}
	return agentv1.NewEnclaveServiceClient(s.conn), nil
}

// Profile returns the CVM profile of a host, or an error if it has not answered.
func (f *Fleet) Profile(host string) (agentv1.CvmProfile, error) {
	s, err := f.session(host)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.facts == nil {
		return 0, fmt.Errorf("host %s has not answered yet", host)
	}
	return s.facts.GetProfile(), nil
}

// Incarnation is that of a host as it is known now, empty if it has never answered,
// or does not tell. Another one says that the host was set up anew.
func (f *Fleet) Incarnation(host string) string {
	s, err := f.session(host)
	if err != nil {
		return ""
	}
	return s.incarnation()
}

// fenceFor is that of calls to a host as it is known now: what was set up anew
// since refuses them.
func (f *Fleet) fenceFor(host string) *agentv1.Fence {
	fence := f.fence()
	fence.Incarnation = f.Incarnation(host)
	return fence
}

// Prepare fetches what a spec needs to a host; it takes as long as ctx permits.
func (f *Fleet) Prepare(ctx context.Context, host, id string, spec *agentv1.EnclaveSpec) error {
	c, err := f.client(host)
	if err != nil {
		return err
	}
	_, err = c.PrepareEnclave(ctx, &agentv1.PrepareEnclaveRequest{Fence: f.fenceFor(host), Id: id, Spec: spec})
	return wrap("prepare", id, host, err)
}

// Create claims and boots an enclave.
func (f *Fleet) Create(ctx context.Context, host, id string, spec *agentv1.EnclaveSpec) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := f.client(host)
	if err != nil {
		return err
	}
	_, err = c.CreateEnclave(ctx, &agentv1.CreateEnclaveRequest{Fence: f.fenceFor(host), Id: id, Spec: spec})
	return wrap("create", id, host, err)
}

// Stop tells an agent to stop an enclave and returns what the agent says of it.
func (f *Fleet) Stop(ctx context.Context, host, id string, grace time.Duration, why string) (model.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := f.client(host)
	if err != nil {
		return model.Observation{}, err
	}
	fence := f.fenceFor(host)
	resp, err := c.StopEnclave(ctx, &agentv1.StopEnclaveRequest{
		Fence: fence, Id: id, Grace: durationpb.New(grace), Reason: clip(why, 1024),
	})
	if err != nil {
		return model.Observation{}, wrap("stop", id, host, err)
	}
	if got := resp.GetEnclave().GetId(); got != id {
		return model.Observation{}, fmt.Errorf("stop enclave %s on host %s: the agent answered for %q", id, host, got)
	}
	return Observation(host, fence.GetIncarnation(), resp.GetEnclave()), nil
}

// Delete tells an agent to forget an enclave that has ended.
func (f *Fleet) Delete(ctx context.Context, host, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := f.client(host)
	if err != nil {
		return err
	}
	_, err = c.DeleteEnclave(ctx, &agentv1.DeleteEnclaveRequest{Fence: f.fenceFor(host), Id: id})
	return wrap("delete", id, host, err)
}

// Console streams an enclave's console log.
func (f *Fleet) Console(ctx context.Context, host, id string, follow bool, tail int32) (grpc.ServerStreamingClient[agentv1.StreamConsoleResponse], error) {
	c, err := f.client(host)
	if err != nil {
		return nil, err
	}
	return c.StreamConsole(ctx, &agentv1.StreamConsoleRequest{Fence: f.fence(), Id: id, Follow: follow, TailLines: tail})
}

func wrap(what, id, host string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s enclave %s on host %s: %w", what, id, host, err)
}

// Observe returns what the host says of an enclave, and whether it can be told:
// it can't while the host is out of reach.
func (f *Fleet) Observe(host, id string) (model.Observation, bool) {
	s, err := f.session(host)
	if err != nil {
		return model.Observation{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.enclaves[id]; e != nil && s.synced {
		return Observation(host, s.machine.Incarnation, e), true
	}
	return model.Observation{Enclave: id, Host: host, Incarnation: s.machine.Incarnation, State: model.EnclaveAbsent}, s.synced
}

// Enclaves returns the enclaves of our cluster on a host, and whether the host
// has told of all it has.
func (f *Fleet) Enclaves(host string) ([]*agentv1.Enclave, bool) {
	s, err := f.session(host)
	if err != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*agentv1.Enclave
	for _, e := range s.enclaves {
		if e.GetClusterId() == f.cfg.ClusterID {
			out = append(out, e)
		}
	}
	return out, s.synced
}

// AwaitFree waits until a host proves that the enclaves named in after are gone
// and hold nothing, and that it can give room. It returns early only with ctx's
// error.
func (f *Fleet) AwaitFree(ctx context.Context, host, id string, after []string, room model.Room) error {
	s, err := f.session(host)
	if err != nil {
		return err
	}
	for {
		s.mu.Lock()
		changed := s.changed
		free := s.synced && s.told && gone(s, after) && offers(s, room)
		s.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("host %s has not proved that room for %s is free: %w", host, id, ctx.Err())
		}
	}
}

// gone says whether nothing of the enclaves is left; s.mu is held.
func gone(s *session, enclaves []string) bool {
	for _, id := range enclaves {
		if e := s.enclaves[id]; e != nil && !Observation(s.record.Name, "", e).Gone() {
			return false
		}
		for _, g := range s.facts.GetGpus() {
			if g.GetEnclaveId() == id {
				return false
			}
		}
	}
	return true
}

func offers(s *session, room model.Room) bool {
	return slices.Contains(s.facts.GetGpuOffers(), uint32(room.GPUs)) &&
		s.facts.GetCpus().GetFree() >= uint64(room.CPUs) &&
		s.facts.GetMemoryMib().GetFree() >= uint64(room.MemoryMiB)
}
