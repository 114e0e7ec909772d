package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// patience bounds everything a test waits for; nothing takes nearly as long.
const patience = 2 * time.Minute

// fleet is a running fleet with its API.
type fleet struct {
	*dev.Fleet
	*dev.API
	Revisions cv1.RevisionServiceClient
	Routes    cv1.RouteServiceClient
	Events    cv1.EventServiceClient
}

// limits end steps soon enough for a test, and late enough for a busy machine.
var limits = []string{"drain: 1s", "stop: 5s", "stop_margin: 10s"}

var fleets atomic.Int64

// start starts a fleet of its own for a test.
func start(t *testing.T, o dev.Options) *fleet {
	t.Helper()
	f, err := newFleet(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.lastLogs())
		}
		if err := f.close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("closing the fleet: %v", err)
		}
	})
	return f
}

func newFleet(ctx context.Context, o dev.Options) (*fleet, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	o.Bin, o.Dir = bin, filepath.Join(scratch, fmt.Sprint(fleets.Add(1)))
	if o.Limits == nil {
		o.Limits = limits
	}
	started, err := dev.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return wrap(started), nil
}

func wrap(f *dev.Fleet) *fleet {
	c := f.Conn()
	return &fleet{
		Fleet: f, API: dev.NewAPI(c), Revisions: cv1.NewRevisionServiceClient(c),
		Routes: cv1.NewRouteServiceClient(c), Events: cv1.NewEventServiceClient(c),
	}
}

// close judges what is left, then stops the fleet.
func (f *fleet) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return errors.Join(f.empty(ctx), f.secretsUnseen(), f.Stop(ctx))
}

// Shared fleets live until the last test has ended, so that tests which disturb
// nobody need not wait for a fleet of their own.
var shared struct {
	sync.Mutex
	fleets map[string]*fleet
}

// blueGreens is the fleet for containers without GPUs, which never run short of
// room: 2 hosts, 2 gateways. Its tests run at the same time.
func blueGreens(t *testing.T) *fleet {
	t.Helper()
	return sharedFleet(t, "blue-green", dev.Options{Hosts: []string{"none", "none"}, Gateways: 2})
}

func sharedFleet(t *testing.T, name string, o dev.Options) *fleet {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if f := shared.fleets[name]; f != nil {
		return f
	}
	f, err := newFleet(context.WithoutCancel(t.Context()), o)
	if err != nil {
		t.Fatal(err)
	}
	if shared.fleets == nil {
		shared.fleets = map[string]*fleet{}
	}
	shared.fleets[name] = f
	return f
}

func closeShared(ctx context.Context) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(shared.fleets)) {
		if err := shared.fleets[name].close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("fleet %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// lastLogs is the end of every process's log.
func (f *fleet) lastLogs() string {
	var b strings.Builder
	paths, _ := filepath.Glob(filepath.Join(f.Dir, "*.log"))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(path), strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return b.String()
}

// dial connects to an address for as long as the test runs.
func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := rpc.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// bounded is the test's context with an end.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
