package netns

import (
	"maps"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/internal/rpc"
)

func TestGatewaysServeFromDiskAndDaemonsFindWhatRuns(t *testing.T) {
	t.Parallel()
	f := start(t, "none", "none")
	load := f.deploy(t, "web", dev.HostName(0))
	before := f.pids(t)

	if err := f.Coordinator.Kill(); err != nil {
		t.Fatal(err)
	}
	unharmed(t, load)
	if err := f.GatewayProc[0].Kill(); err != nil {
		t.Fatal(err)
	}
	if err := f.StartGateway(0); err != nil {
		t.Fatal(err)
	}
	for range 3 { // clients that were cut off are back
		if err := load.AwaitAnswer(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	load.Take()
	if err := f.restartAgents(); err != nil {
		t.Fatal(err)
	}
	unharmed(t, load)
	if err := f.StartCoordinator(); err != nil {
		t.Fatal(err)
	}
	f.allReady(t)
	f.container(t, "web", running("v1.0.0"))
	if after := f.pids(t); !maps.Equal(before, after) {
		t.Errorf("the processes %v became %v: the agents did not adopt what ran", before, after)
	}
	succeeded(t, f.follow(t, f.begin(t, "web", "v1.1.0", dev.HostName(1)), dev.Ended))
	unharmed(t, load)
}

func TestACoordinatorWithAnEmptyStoreChangesNothing(t *testing.T) {
	t.Parallel()
	f := start(t, "none", "none")
	load := f.deploy(t, "web", dev.HostName(0))
	before := f.pids(t)
	second, err := dev.Start(t.Context(), dev.Options{
		Dir: filepath.Join(f.Dir, "2"), Bin: f.Bin, Gateways: 1,
		Place: func(process string) dev.Place { return f.net.place(process + "-2") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := second.Stop(bounded(t)); err != nil {
			t.Error(err)
		}
	})
	stranger := wrap(t, second, f.net)
	for n := range f.Options.Hosts {
		_, err := stranger.Hosts.AddHost(bounded(t), &cv1.AddHostRequest{Name: dev.HostName(n), Address: f.AgentAddress(n)}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		h := stranger.hostIs(t, n, cv1.HostStatus_HOST_STATUS_REFUSED)
		t.Logf("the stranger is told: %s", h.GetText())
	}
	if _, err := stranger.Deploy(bounded(t), "web", stranger.spec("web", "v1.0.0", "")); rpc.Reason(err) != "NO_CAPACITY" {
		t.Errorf("the stranger, on hosts that follow another cluster: %v, want NO_CAPACITY", err)
	}
	f.allReady(t)
	if after := f.pids(t); !maps.Equal(before, after) {
		t.Errorf("the processes %v became %v because of a stranger", before, after)
	}
	succeeded(t, f.follow(t, f.begin(t, "web", "v1.1.0", dev.HostName(1)), dev.Ended))
	unharmed(t, load)
}
