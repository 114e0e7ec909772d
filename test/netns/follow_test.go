package netns

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// begin starts an update to a tag on a host, or any.
func (f *fleet) begin(t *testing.T, name, tag, host string) *cv1.Update {
	t.Helper()
	r, err := f.Updates.StartUpdate(bounded(t), &cv1.StartUpdateRequest{
		Org: dev.Org, Container: name, Spec: f.spec(name, tag, host),
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tag", "host"}},
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("begin the update of %s to %s on %q: %v", name, tag, host, err)
	}
	return r.GetUpdate()
}

// follow watches an update, across deaths of the coordinator, until cond holds.
func (f *fleet) follow(t *testing.T, u *cv1.Update, cond func(*cv1.Update) bool) *cv1.Update {
	t.Helper()
	ctx := bounded(t)
	for {
		got, err := f.watchOnce(ctx, u, cond)
		if err == nil {
			return got
		}
		if ctx.Err() != nil || status.Code(err) != codes.Unavailable {
			t.Fatalf("follow update %s: %v", u.GetId(), err)
		}
	}
}

// watchOnce is one watch of an update.
func (f *fleet) watchOnce(ctx context.Context, u *cv1.Update, cond func(*cv1.Update) bool) (*cv1.Update, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.Updates.WatchUpdates(ctx, &cv1.WatchUpdatesRequest{Org: u.GetOrg(), Container: u.GetContainer(), Id: u.GetId()}, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if c := m.GetChanged(); c != nil && cond(c) {
			return c, nil
		}
	}
}

// until asks again and again until a question about the fleet has the answer
// wanted: want returns "" for that, or what is still missing.
func until(t *testing.T, want func(ctx context.Context) string) {
	t.Helper()
	ctx := bounded(t)
	for {
		missing := want(ctx)
		if missing == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s in vain: %s", patience, missing)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// hostIs waits until a host has a status.
func (f *fleet) hostIs(t *testing.T, n int, want cv1.HostStatus) *cv1.Host {
	t.Helper()
	var h *cv1.Host
	until(t, func(ctx context.Context) string {
		r, err := f.Hosts.GetHost(ctx, &cv1.GetHostRequest{Name: dev.HostName(n)}, grpc.WaitForReady(true))
		if err != nil {
			return err.Error()
		}
		h = r.GetHost()
		if h.GetStatus() == want {
			return ""
		}
		return fmt.Sprintf("%s is %s (%s), want %s", h.GetName(), h.GetStatus(), h.GetText(), want)
	})
	return h
}

// allReady waits until every host is.
func (f *fleet) allReady(t *testing.T) {
	t.Helper()
	for n := range f.Options.Hosts {
		f.hostIs(t, n, cv1.HostStatus_HOST_STATUS_READY)
	}
}

// container waits until a container satisfies want.
func (f *fleet) container(t *testing.T, name string, want func(*cv1.Container) string) *cv1.Container {
	t.Helper()
	var c *cv1.Container
	until(t, func(ctx context.Context) string {
		r, err := f.Containers.GetContainer(ctx, &cv1.GetContainerRequest{Org: dev.Org, Name: name}, grpc.WaitForReady(true))
		if err != nil {
			return err.Error()
		}
		c = r.GetContainer()
		return want(c)
	})
	return c
}

// running wants a container to serve a tag, with nothing left elsewhere.
func running(tag string) func(*cv1.Container) string {
	return func(c *cv1.Container) string {
		if c.GetStatus() == cv1.ContainerStatus_CONTAINER_STATUS_RUNNING && c.GetActiveTag() == tag && len(c.GetLeftoverEnclaves()) == 0 && c.GetActiveUpdate() == "" {
			return ""
		}
		return fmt.Sprintf("%s is %s with %s on %s, update %q, left over %v (%s), want %s RUNNING", c.GetName(), c.GetStatus(), c.GetActiveTag(), c.GetActiveHost(), c.GetActiveUpdate(), c.GetLeftoverEnclaves(), c.GetText(), tag)
	}
}

// onlyRuns waits until the guests that live are exactly these enclaves.
func (f *fleet) onlyRuns(t *testing.T, enclaves ...string) {
	t.Helper()
	slices.Sort(enclaves)
	until(t, func(context.Context) string {
		if got := f.guests(t); !slices.Equal(got, enclaves) {
			return fmt.Sprintf("guests of %v run, want %v", got, enclaves)
		}
		return ""
	})
}
