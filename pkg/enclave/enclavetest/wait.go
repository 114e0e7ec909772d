package enclavetest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(context.Background(), Deadline)
}

func contextOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := contextWithCancel(t)
	t.Cleanup(cancel)
	return ctx
}

// untilReady waits until the guest at this endpoint says that it is healthy.
func (h *host) untilReady(endpoint string) {
	h.Helper()
	ctx, cancel := contextWithCancel(h.T)
	defer cancel()
	c, err := guestclient.New(guestclient.Config{Endpoint: endpoint})
	if err != nil {
		h.Fatal(err)
	}
	defer c.Close()
	var after uint64
	for {
		status, err := c.Boot(ctx, after, 10*time.Second)
		if err != nil {
			h.Fatalf("wait for the guest at %s: %v", endpoint, err)
		}
		if failed, ok := status.Failed(); ok {
			h.Fatalf("the guest at %s failed: %+v", endpoint, failed)
		}
		if status.Ready {
			return
		}
		after = status.Version
	}
}

// answers says whether somebody listens at the endpoint.
func answers(endpoint string) bool {
	conn, err := net.DialTimeout("tcp", endpoint, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
