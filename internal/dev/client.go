package dev

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// Org is the org of a development fleet.
const Org = "default"

// API is the coordinator's API in the words of a script: each operation waits
// for what it begins.
type API struct {
	Containers cv1.ContainerServiceClient
	Updates    cv1.UpdateServiceClient
	Secrets    cv1.SecretServiceClient
	Hosts      cv1.HostServiceClient
}

// NewAPI returns the API over a connection.
func NewAPI(conn grpc.ClientConnInterface) *API {
	return &API{
		Containers: cv1.NewContainerServiceClient(conn), Updates: cv1.NewUpdateServiceClient(conn),
		Secrets: cv1.NewSecretServiceClient(conn), Hosts: cv1.NewHostServiceClient(conn),
	}
}

// Deploy creates a container and waits until it serves.
func (a *API) Deploy(ctx context.Context, name string, spec *cv1.ContainerSpec) (*cv1.Update, error) {
	r, err := a.Containers.CreateContainer(ctx, &cv1.CreateContainerRequest{Org: Org, Name: name, Spec: spec})
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return a.Await(ctx, r.GetUpdate(), Ended)
}

// Update begins an update and waits until cond holds.
func (a *API) Update(ctx context.Context, name string, spec *cv1.ContainerSpec, paths []string, o *cv1.UpdateOptions, cond func(*cv1.Update) bool) (*cv1.Update, error) {
	r, err := a.Updates.StartUpdate(ctx, &cv1.StartUpdateRequest{
		Org: Org, Container: name, Spec: spec, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}, Options: o,
	})
	if err != nil {
		return nil, fmt.Errorf("update %s: %w", name, err)
	}
	return a.Await(ctx, r.GetUpdate(), cond)
}

// ToTag is Update to another tag.
func (a *API) ToTag(ctx context.Context, name, tag string, o *cv1.UpdateOptions, cond func(*cv1.Update) bool) (*cv1.Update, error) {
	return a.Update(ctx, name, &cv1.ContainerSpec{Tag: tag}, []string{"tag"}, o, cond)
}

// Ended says whether an update has ended.
func Ended(u *cv1.Update) bool { return u.GetEndTime() != nil }

// Held says whether an update waits to be accepted, or has ended.
func Held(u *cv1.Update) bool {
	return u.GetStep() == cv1.UpdateStep_UPDATE_STEP_HOLD || Ended(u)
}

// Started says whether a candidate runs, or the update has gone further.
func Started(u *cv1.Update) bool { return u.GetStatus() >= cv1.UpdateStatus_UPDATE_STATUS_STARTED }

// Await watches an update until cond holds.
func (a *API) Await(ctx context.Context, u *cv1.Update, cond func(*cv1.Update) bool) (*cv1.Update, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := a.Updates.WatchUpdates(ctx, &cv1.WatchUpdatesRequest{Org: u.GetOrg(), Container: u.GetContainer(), Id: u.GetId()})
	if err != nil {
		return nil, fmt.Errorf("watch update %s: %w", u.GetId(), err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil, fmt.Errorf("watch update %s: %w", u.GetId(), err)
		}
		if c := m.GetChanged(); c != nil && cond(c) {
			return c, nil
		}
		if m.GetDeleted() != nil {
			return nil, fmt.Errorf("update %s was deleted with its container", u.GetId())
		}
	}
}

// AwaitContainer watches a container until cond holds; a deleted one is nil.
func (a *API) AwaitContainer(ctx context.Context, name string, cond func(*cv1.Container) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := a.Containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: Org})
	if err != nil {
		return fmt.Errorf("watch containers: %w", err)
	}
	seen := false
	for {
		m, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("watch container %s: %w", name, err)
		}
		gone := m.GetDeleted().GetName() == name && m.GetDeleted() != nil || m.GetSynced() != nil && !seen
		if gone && cond(nil) {
			return nil
		}
		if c := m.GetChanged(); c.GetName() == name && c != nil {
			seen = true
			if cond(c) {
				return nil
			}
		}
	}
}

// Took is how long an update took.
func Took(u *cv1.Update) time.Duration {
	end := time.Now()
	if u.GetEndTime() != nil {
		end = u.GetEndTime().AsTime()
	}
	return end.Sub(u.GetCreateTime().AsTime())
}
