package api

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

// doubtful applies a commit about a host and says that it failed, once it is told
// to: as a disk does that breaks after the write.
type doubtful struct {
	store.Store
	next atomic.Bool
}

func (d *doubtful) Txn(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	rev, err := d.Store.Txn(ctx, compares, ops)
	for _, op := range ops {
		if strings.HasPrefix(op.Key, records.HostPrefix) && err == nil && d.next.CompareAndSwap(true, false) {
			return 0, store.ErrIO
		}
	}
	return rev, err
}

// TestAHostIsFollowedAsItIsOnRecord: a commit that fails may have been applied.
// What the coordinator does with the host follows the record, not the error.
func TestAHostIsFollowedAsItIsOnRecord(t *testing.T) {
	d := &doubtful{Store: memory.New(memory.Config{})}
	c := over(t, startOver(t, d))
	ctx := t.Context()
	add := &cv1.AddHostRequest{Name: "h1", Address: "h1:1", RequestId: "add"}
	d.next.Store(true)
	_, err := c.hosts.AddHost(ctx, add)
	want(t, err, codes.Internal, "INTERNAL")
	if _, err := c.hosts.AddHost(ctx, add); err != nil {
		t.Errorf("add it once more: %v", err)
	}
	c.ready()
	c.secret("API_KEY", "one")
	api := c.deploy("api")

	d.next.Store(true)
	_, err = c.hosts.CordonHost(ctx, &cv1.CordonHostRequest{Name: "h1"})
	want(t, err, codes.Internal, "INTERNAL")
	_, err = c.containers.CopyContainer(ctx, &cv1.CopyContainerRequest{Org: "acme", Source: "api", Name: "two"})
	want(t, err, codes.ResourceExhausted, "NO_CAPACITY")

	d.next.Store(true)
	_, err = c.hosts.RemoveHost(ctx, &cv1.RemoveHostRequest{Name: "h1", Force: true})
	want(t, err, codes.Internal, "INTERNAL")
	w, err := c.containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: "acme", Name: api.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := w.Recv()
		if err != nil {
			t.Fatalf("no container is told that its host was forgotten: %v", err)
		}
		if x := m.GetChanged(); x != nil && x.GetStatus() != cv1.ContainerStatus_CONTAINER_STATUS_RUNNING {
			return
		}
	}
}

// TestADrainAskedAgainDoesNotUndoAnUncordon: the same request has one effect.
func TestADrainAskedAgainDoesNotUndoAnUncordon(t *testing.T) {
	c := connect(t)
	c.host()
	ctx := t.Context()
	drain := &cv1.DrainHostRequest{Name: "h1", RequestId: "drain"}
	for range 2 {
		if d, err := c.hosts.DrainHost(ctx, drain); err != nil || !d.GetHost().GetCordoned() {
			t.Fatalf("drain: %v, %v", d, err)
		}
	}
	if _, err := c.hosts.UncordonHost(ctx, &cv1.UncordonHostRequest{Name: "h1"}); err != nil {
		t.Fatal(err)
	}
	_, err := c.hosts.DrainHost(ctx, drain)
	want(t, err, codes.FailedPrecondition, "UNCORDONED")
	if h, err := c.hosts.GetHost(ctx, &cv1.GetHostRequest{Name: "h1"}); err != nil || h.GetHost().GetCordoned() {
		t.Errorf("the host is %v, %v; want it uncordoned", h, err)
	}
}
