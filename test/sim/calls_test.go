package sim

import (
	"maps"
	"slices"
	"testing"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// notCalled are the calls that no simulated user makes, and why.
var notCalled = map[string]string{
	cv1.ContainerService_StreamLogs_FullMethodName:    "enclaves here write no log",
	cv1.RouteService_AcknowledgeRoutes_FullMethodName: "gateways here tell the tracker itself",
	cv1.HostService_WatchHosts_FullMethodName:         "what agents say is not in the store, and the agents' side of it is simulated",
	cv1.EventService_WatchEvents_FullMethodName:       "events make room for newer ones: a watch has more of them than a list",
}

// TestEveryCallIsMade: a new method of the API is called in simulated runs, or
// says why not.
func TestEveryCallIsMade(t *testing.T) {
	made, missing := map[string]bool{}, []string{"all"}
	for seed := uint64(0); len(missing) > 0 && seed < 300; seed++ {
		out := play(t, generate(seed))
		if out.violation != nil {
			t.Fatalf("seed %d: %+v", seed, out.violation)
		}
		maps.Copy(made, out.calls)
		missing = slices.DeleteFunc(slices.Sorted(maps.Keys(out.methods)), func(m string) bool { return made[m] || notCalled[m] != "" })
	}
	if len(missing) > 0 {
		t.Errorf("no run of 300 makes these calls: %v", missing)
	}
	for method, why := range notCalled {
		if made[method] {
			t.Errorf("%s is called, and should not be: %s", method, why)
		}
	}
}
