package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// appendTo adds to a file of the fleet.
func appendTo(t *testing.T, f *fleet, name, text string) {
	t.Helper()
	path := filepath.Join(f.Dir, name)
	old, err := os.ReadFile(path) //nolint:gosec // our own file
	if err != nil {
		t.Fatal(err)
	}
	// In one step, so that nobody reads half of it.
	if err := os.WriteFile(path+".new", append(old, text...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFaultFailsTheUpdateWithItsReasonAndHurtsNobody(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"none"}, Limits: append([]string{"pending: 15s"}, limits...)})
	for _, c := range []struct{ fault, reason string }{
		{"image-missing", "IMAGE_MISSING"},
		{"prepare-fails", "PREPARE_FAILED"},
		{"boot-fails", "BOOT_FAILED"},
		{"attestation-wrong", "ATTESTATION_REFUSED"},
		{"attestation-foreign-key", "ATTESTATION_REFUSED"},
		{"never-healthy", "HEALTH_CHECK_FAILED"},
		{"hangs", "BOOT_TIMEOUT"},
		{"dies-after:0s", "VM_EXITED"},
	} {
		kind, _, _ := strings.Cut(c.fault, ":")
		t.Run(kind, func(t *testing.T) {
			broken := app{fault: c.fault, load: 300 * time.Millisecond}
			spec := f.running(t, kind, app{}, broken)
			u := f.updated(t, kind, "v2", nil, failed)
			if u.GetReason() != c.reason || u.GetText() == "" {
				t.Errorf("the reason is %s (%s), want %s", u.GetReason(), u.GetText(), c.reason)
			}
			if a := f.ask(t, kind); a.Tag != "v1" {
				t.Errorf("%+v answers after the failure", a)
			}
			says(t, f.ok(t, "container", "update", "status", kind), "FAILED", u.GetReason())
			f.remove(t, kind)
			if err := f.create(t, kind, &cv1.ContainerSpec{Repository: spec.GetRepository(), Tag: "v2"}); err != nil {
				t.Fatal(err)
			}
			if c := f.is(t, kind, hasFailed); c.GetReason() != u.GetReason() {
				t.Errorf("as a first deployment the reason is %s, want %s", c.GetReason(), u.GetReason())
			}
		})
	}
}

func TestAnEnclaveThatDiesIsToldAndStartedAgain(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "mortal", app{fault: "dies-after:10s"}) // time to be deployed on a slow machine
	first := f.get(t, "mortal").GetActiveEnclave()
	c := f.is(t, "mortal", deploying)
	if c.GetReason() != "VM_EXITED" || !strings.Contains(c.GetText(), "started again") || c.GetActiveEnclave() != "" {
		t.Errorf("the container is %v", c)
	}
	f.refused(t, domain("mortal"))
	says(t, f.ok(t, "container", "get", "mortal"), "VM_EXITED")
	c = f.is(t, "mortal", isRunning)
	if c.GetActiveEnclave() == first || c.GetActiveRevision() != 1 {
		t.Errorf("started again the container is %v", c)
	}
	u, err := f.Updates.GetUpdate(bounded(t), &cv1.GetUpdateRequest{Org: dev.Org, Container: "mortal"})
	if err != nil || u.GetUpdate().GetKind() != "restart" {
		t.Errorf("it came back by %v, %v", u.GetUpdate().GetKind(), err)
	}
	says(t, f.ok(t, "container", "events", "mortal"), "ENCLAVE_DIED", "RESTART_SCHEDULED", "SWITCHED")
	f.remove(t, "mortal")
	f.forgotten(t, "mortal")
}

func TestAServingEnclaveThatIsUnhealthyIsToldAndKeepsItsTraffic(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "ailing", app{fault: "unhealthy-after:10s"}) // time to be deployed on a slow machine
	err := f.AwaitContainer(bounded(t), "ailing", func(c *cv1.Container) bool { return c.GetReason() == "UNHEALTHY" })
	if err != nil {
		t.Fatal(err)
	}
	if c := f.get(t, "ailing"); c.GetStatus() != isRunning || c.GetText() == "" {
		t.Errorf("the container is %v", c)
	}
	if r := f.route(t, "ailing"); r.GetState() != cv1.RouteState_ROUTE_STATE_SERVING {
		t.Errorf("the route is %v", r)
	}
}

func TestEventsTellWhatHappenedInOrder(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "diary", app{}, app{})
	f.updated(t, "diary", "v2", nil, succeeded)
	r, err := f.Events.ListEvents(bounded(t), &cv1.ListEventsRequest{Org: dev.Org, Container: "diary"})
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, e := range r.GetEvents() {
		reasons = append(reasons, e.GetReason())
	}
	want := []string{"UPDATE_STARTED", "SWITCHED", "UPDATE_SUCCEEDED", "UPDATE_STARTED", "SWITCHED", "UPDATE_SUCCEEDED"}
	if !slices.Equal(reasons, want) {
		t.Errorf("the events are %v, want %v", reasons, want)
	}
}
