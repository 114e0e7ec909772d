package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
)

type containerService struct {
	cv1.UnimplementedContainerServiceServer
	*Server
}

// key resolves a container's name or uid.
func (s *Server) key(ctx context.Context, org, name string) (model.ContainerKey, error) {
	k := model.ContainerKey{Org: org, Name: name}
	_, err := s.cfg.Records.Store().Get(ctx, records.ContainerKey(k))
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return k, err
	}
	if byUID, err := s.cfg.Records.ByUID(ctx, name); err == nil && byUID.Org == org {
		return byUID, nil
	}
	return k, rpc.Error(codes.NotFound, "NO_SUCH_CONTAINER", fmt.Sprintf("there is no container %q in org %q: see `casemate container list`", name, org))
}

// CreateContainer deploys a new container.
func (s *containerService) CreateContainer(ctx context.Context, m *cv1.CreateContainerRequest) (*cv1.CreateContainerResponse, error) {
	out, err := s.create(ctx, creation{
		request: newRequest(m.GetOrg(), "CreateContainer", m), org: m.GetOrg(), name: m.GetName(),
		spec: specModel(m.GetSpec()), planEtag: m.GetPlanEtag(), validateOnly: m.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	return &cv1.CreateContainerResponse{Container: out.container, Update: out.update, Plan: out.plan}, nil
}

// CopyContainer makes a new container from an existing one's settings.
func (s *containerService) CopyContainer(ctx context.Context, m *cv1.CopyContainerRequest) (*cv1.CopyContainerResponse, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetSource())
	if err != nil {
		return nil, err
	}
	item, err := records.Get(ctx, s.cfg.Records, records.Containers, records.ContainerKey(k))
	if err != nil {
		return nil, err
	}
	source := item.Value.Spec
	source.Domain = ""
	spec, err := masked(source, m.GetSpec(), m.GetUpdateMask(), templatePaths)
	if err != nil {
		return nil, err
	}
	out, err := s.create(ctx, creation{
		request: newRequest(m.GetOrg(), "CopyContainer", m), org: m.GetOrg(), name: m.GetName(),
		spec: spec, planEtag: m.GetPlanEtag(), validateOnly: m.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	return &cv1.CopyContainerResponse{Container: out.container, Update: out.update, Plan: out.plan}, nil
}

// GetContainer returns one container.
func (s *containerService) GetContainer(ctx context.Context, m *cv1.GetContainerRequest) (*cv1.GetContainerResponse, error) {
	c, err := s.container(ctx, m.GetOrg(), m.GetName())
	if err != nil {
		return nil, err
	}
	return &cv1.GetContainerResponse{Container: c}, nil
}

func (s *Server) container(ctx context.Context, org, name string) (*cv1.Container, error) {
	k, err := s.key(ctx, org, name)
	if err != nil {
		return nil, err
	}
	item, err := records.Get(ctx, s.cfg.Records, records.Containers, records.ContainerKey(k))
	if err != nil {
		return nil, err
	}
	return s.fullContainer(ctx, item)
}

// fullContainer adds to a record what is not part of it: what the serving revision
// says, stale secrets and what the agent says of the boot.
func (s *Server) fullContainer(ctx context.Context, item records.Item[model.Container]) (*cv1.Container, error) {
	c := item.Value
	m := containerMessage(&c, item.Revision)
	if c.Active == nil {
		return m, nil
	}
	serving, err := s.serving(ctx, &c)
	if err != nil {
		return nil, err
	}
	if serving.Number != 0 {
		part := serving.PlatformPart(s.cfg.Records.ClusterID, c.Spec.Domain, s.cfg.Vault.PublicKey())
		m.ActivePlatformDigest = fmt.Sprintf("%x", evidence.PlatformDigest(part))
	}
	if m.StaleSecrets, err = s.stale(ctx, c.Org, serving); err != nil {
		return nil, err
	}
	if o, known := s.cfg.Fleet.Observe(c.Active.Host, c.Active.ID); known {
		m.Stages = stageMessages(o.Stages)
	}
	return m, nil
}

// ListContainers returns a page of containers.
func (s *containerService) ListContainers(ctx context.Context, m *cv1.ListContainersRequest) (*cv1.ListContainersResponse, error) {
	prefix := records.ContainerPrefix + m.GetOrg() + "/"
	items, next, err := page(ctx, s.Server, records.Containers, prefix, m)
	if err != nil {
		return nil, err
	}
	out := &cv1.ListContainersResponse{NextPageToken: next}
	for _, item := range items {
		c, err := s.fullContainer(ctx, item)
		if err != nil {
			return nil, err
		}
		out.Containers = append(out.Containers, c)
	}
	return out, nil
}

// StopContainer stops what runs.
func (s *containerService) StopContainer(ctx context.Context, m *cv1.StopContainerRequest) (*cv1.StopContainerResponse, error) {
	c, err := s.teardown(ctx, newRequest(m.GetOrg(), "StopContainer", m), m.GetName(), m.GetEtag(), m.GetValidateOnly(), model.TeardownStop)
	if err != nil {
		return nil, err
	}
	return &cv1.StopContainerResponse{Container: c}, nil
}

// DeleteContainer removes a container for good.
func (s *containerService) DeleteContainer(ctx context.Context, m *cv1.DeleteContainerRequest) (*cv1.DeleteContainerResponse, error) {
	r := newRequest(m.GetOrg(), "DeleteContainer", m)
	c, err := s.teardown(ctx, r, m.GetName(), m.GetEtag(), m.GetValidateOnly(), model.TeardownDelete)
	if rpc.Reason(err) == "NO_SUCH_CONTAINER" {
		if done, ok := repeated(r.check(ctx, s.cfg.Records)); ok {
			return &cv1.DeleteContainerResponse{Container: &cv1.Container{
				Org: m.GetOrg(), Name: done.Container, Status: cv1.ContainerStatus_CONTAINER_STATUS_DELETING,
			}}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &cv1.DeleteContainerResponse{Container: c}, nil
}

func (s *containerService) teardown(ctx context.Context, r request, name, wantEtag string, validateOnly bool, kind model.TeardownKind) (*cv1.Container, error) {
	k, err := s.key(ctx, r.org, name)
	if err != nil {
		return nil, err
	}
	state, err := s.cfg.Runner.Do(ctx, k, func(ctx context.Context, l *records.Loaded) (engine.Event, records.Extra, error) {
		var extra records.Extra
		if err := r.check(ctx, s.cfg.Records); err != nil {
			return nil, extra, err
		}
		if wantEtag != "" && wantEtag != etag(l.ContainerRevision) {
			return nil, extra, etagMismatch("container")
		}
		if validateOnly {
			return nil, extra, errValidated
		}
		err := r.record(&extra, s.Server, k.Name, "")
		return engine.Stop{Kind: kind}, extra, err
	})
	if _, again := repeated(err); again || errors.Is(err, errValidated) {
		return s.container(ctx, k.Org, k.Name)
	}
	if err != nil {
		return nil, err
	}
	return containerMessage(state.Container, state.ContainerRevision), nil
}

// errValidated ends a call that was only to be checked.
var errValidated = errors.New("checked only")

// StartContainer starts a stopped or failed container again as it is.
func (s *containerService) StartContainer(ctx context.Context, m *cv1.StartContainerRequest) (*cv1.StartContainerResponse, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetName())
	if err != nil {
		return nil, err
	}
	out, err := s.change(ctx, change{
		request: newRequest(m.GetOrg(), "StartContainer", m), key: k, kind: model.KindStart,
		etag: m.GetEtag(), validateOnly: m.GetValidateOnly(),
		admit: func(c *model.Container) error {
			if c.Active != nil {
				return rpc.Precondition("ALREADY_RUNNING", c.Name, fmt.Sprintf("container %s runs already: to change it, use `casemate container relaunch %s`", c.Name, c.Name))
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	c, err := s.container(ctx, k.Org, k.Name)
	if err != nil {
		return nil, err
	}
	return &cv1.StartContainerResponse{Container: c, Update: out.update, Plan: out.plan}, nil
}

// StreamLogs sends an enclave's console log.
func (s *containerService) StreamLogs(m *cv1.StreamLogsRequest, stream grpc.ServerStreamingServer[cv1.StreamLogsResponse]) error {
	ctx, cancel := s.watchContext(stream.Context())
	defer cancel()
	ref, err := s.logsOf(ctx, m)
	if err != nil {
		return err
	}
	console, err := s.cfg.Fleet.Console(ctx, ref.Host, ref.ID, m.GetFollow(), m.GetTailLines())
	if err != nil {
		return err
	}
	for {
		piece, err := console.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&cv1.StreamLogsResponse{Chunk: piece.GetChunk(), Enclave: ref.ID}); err != nil {
			return fmt.Errorf("send log: %w", err)
		}
	}
}

// logsOf finds the enclave: the one named, the one that serves, or the last
// update's candidate.
func (s *Server) logsOf(ctx context.Context, m *cv1.StreamLogsRequest) (model.EnclaveRef, error) {
	k, err := s.key(ctx, m.GetOrg(), m.GetName())
	if err != nil {
		return model.EnclaveRef{}, err
	}
	item, err := records.Get(ctx, s.cfg.Records, records.Containers, records.ContainerKey(k))
	if err != nil {
		return model.EnclaveRef{}, err
	}
	c := item.Value
	var refs []model.EnclaveRef
	if c.Active != nil {
		refs = append(refs, *c.Active)
	}
	if c.LastUpdate != "" {
		if u, err := s.cfg.Records.Update(ctx, k, c.LastUpdate); err == nil {
			refs = append(refs, u.Value.New)
			if u.Value.Old != nil {
				refs = append(refs, *u.Value.Old)
			}
			if u.Value.Failed != nil {
				refs = append(refs, *u.Value.Failed)
			}
		}
	}
	for _, ref := range refs {
		if m.GetEnclave() == "" || m.GetEnclave() == ref.ID {
			return ref, nil
		}
	}
	return model.EnclaveRef{}, rpc.Error(codes.NotFound, "NO_SUCH_ENCLAVE", fmt.Sprintf("container %s has no enclave %q whose log is known: leave the enclave out for the one that serves", c.Name, m.GetEnclave()))
}
