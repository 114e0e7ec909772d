package netns

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// patience bounds everything a test waits for. The longest is a coordinator that
// waits for a host which was cut off: 15 s until that is noticed.
const patience = 3 * time.Minute

// fleet is a fleet of real processes in namespaces.
type fleet struct {
	*dev.Fleet
	*dev.API
	net *network
}

var fleets atomic.Int64

// start starts a fleet whose hosts have these presets, and two gateways. The
// network has room for a second coordinator with a gateway.
func start(t *testing.T, hosts ...string) *fleet {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	nodes := []string{"client", "coordinator", "gateway-1", "gateway-2", "coordinator-2", "gateway-1-2"}
	for n := range hosts {
		nodes = append(nodes, agent(n))
	}
	network, err := newNetwork(nodes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.calls.close(); err != nil {
			t.Error(err)
		}
	})
	f, err := dev.Start(t.Context(), dev.Options{
		Dir: filepath.Join(scratch, fmt.Sprint(fleets.Add(1))), Bin: bin, Hosts: hosts, Gateways: 2, Place: network.place,
		Limits: []string{"drain: 1s", "stop: 3s", "stop_margin: 3s"},
		Reaper: []string{"every: 1s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(lastLogs(f.Dir))
		}
		if err := f.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("stop the fleet: %v", err)
		}
	})
	return wrap(t, f, network)
}

// wrap makes the samples of a fleet, signed with its key.
func wrap(t *testing.T, f *dev.Fleet, network *network) *fleet {
	t.Helper()
	key, err := f.ReleaseKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.WriteSamples(filepath.Join(f.Dir, "repos"), key); err != nil {
		t.Fatal(err)
	}
	return &fleet{Fleet: f, API: dev.NewAPI(f.Conn()), net: network}
}

func agent(n int) string { return fmt.Sprintf("agent-%d", n+1) }

// spec is a sample container at a tag, on a host or, if that is empty, any.
func (f *fleet) spec(name, tag, host string) *cv1.ContainerSpec {
	return &cv1.ContainerSpec{Repository: filepath.Join(f.Dir, "repos", name), Tag: tag, Host: host}
}

// deploy deploys a sample and puts it under the load of clients that come
// through the first gateway.
func (f *fleet) deploy(t *testing.T, name, host string) *dev.Load {
	t.Helper()
	u, err := f.Deploy(bounded(t), name, f.spec(name, "v1.0.0", host))
	if err != nil {
		t.Fatal(err)
	}
	succeeded(t, u)
	return f.load(t, name, patience)
}

// load puts a container under load; timeout bounds each request.
func (f *fleet) load(t *testing.T, name string, timeout time.Duration) *dev.Load {
	t.Helper()
	l := dev.StartLoad(t.Context(), dev.Target{
		Gateway: f.GatewayAddr, Domain: domain(name), Clients: 2, Timeout: timeout, Dial: f.net.dialer("client"),
	})
	t.Cleanup(l.Stop)
	if err := l.AwaitAnswer(bounded(t)); err != nil {
		t.Fatal(err)
	}
	l.Take()
	return l
}

func domain(name string) string { return name + "." + dev.Org + "." + dev.BaseDomain }

func succeeded(t *testing.T, u *cv1.Update) {
	t.Helper()
	if u.GetStatus() != cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED {
		t.Fatalf("update %s of %s ended as %s, want SUCCEEDED: %s", u.GetId(), u.GetContainer(), u.GetStatus(), u.GetText())
	}
}

// unharmed wants clients to have been answered, without one failure.
func unharmed(t *testing.T, l *dev.Load) dev.Stats {
	t.Helper()
	for range 3 { // what was asked before is answered by then
		if err := l.AwaitAnswer(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	s := l.Take()
	if s.Failed > 0 || s.Sent == 0 {
		t.Errorf("of %d requests %d failed: %v", s.Sent, s.Failed, s.Errors)
	}
	return s
}

// bounded is the test's context with an end.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lastLogs is the end of every process's log.
func lastLogs(dir string) string {
	var b strings.Builder
	paths, _ := filepath.Glob(filepath.Join(dir, "*.log"))
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
