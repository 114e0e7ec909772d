package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// eight is a container that needs every GPU of a host.
var eight = app{gpus: 8, boot: 300 * time.Millisecond, load: 200 * time.Millisecond}

func TestUpdatesWithEveryGPUInUse(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"8xH200"}})
	for name, test := range map[string]func(*testing.T, *fleet){
		"replace holds the route and clients wait":           replaceHoldsTheRoute,
		"replace from the command line has two phases":       replaceFromTheCommandLine,
		"a failed replace is retried and redeployed":         failedReplaceIsRetried,
		"restore on failure brings the old revision back":    restoreOnFailure,
		"a replace that is cancelled keeps the old revision": cancelledReplace,
		"a container is deleted in the middle of a replace":  deletedInAReplace,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, f)
			if err := f.empty(bounded(t)); err != nil {
				t.Errorf("after the test: %v", err)
			}
		})
	}
}

// replaceHoldsTheRoute: while the new version boots the domain stays, new
// connections wait, and nobody else on the host notices.
func replaceHoldsTheRoute(t *testing.T, f *fleet) {
	f.running(t, "big", eight, eight)
	f.running(t, "small", app{})
	// All GPUs of a Hopper board share its switches, which the enclave shows with them.
	says(t, f.ok(t, "attest", "container", "big"), "8 GPUs and 4 switches", "✓ gpu7_mode", "✓ switch3_report_signature", "✓ topology_switches", "✓ topology_gpus")
	small := f.get(t, "small").GetActiveEnclave()
	l, neighbour := f.load(t, "big"), f.load(t, "small")
	u := f.beginAt(t, "big", "v2", nil, cv1.UpdateStep_UPDATE_STEP_BOOT)
	if u.GetStrategy() != cv1.Strategy_STRATEGY_REPLACE || !u.GetPlan().GetDowntimeRequired() {
		t.Fatalf("the plan is %v", u.GetPlan())
	}
	c, r := f.get(t, "big"), f.route(t, "big")
	if f.switched(t, u) {
		t.Log("too late to see the container and its route while the new version boots")
	} else if c.GetStatus() != deploying || r.GetState() != cv1.RouteState_ROUTE_STATE_HELD || r.GetHoldTimeout().AsDuration() <= 0 {
		t.Errorf("while the new version boots the container is %s, the route %v", c.GetStatus(), r)
	}
	// A client that comes now waits for the new version.
	if a := f.ask(t, "big"); a.Enclave != u.GetCandidate() {
		t.Errorf("%+v answers a client that waited, want the candidate %s", a, u.GetCandidate())
	}
	u = f.ended(t, u, succeeded)
	wantSteps(t, u, "prepare", "hold-route", "stop-old", "await-free", "boot", "attest", "health", "switch", "release", "done")
	s := unharmed(t, l)
	if !slices.Equal(s.Tags, []string{"v1", "v2"}) {
		t.Errorf("clients saw the tags %v", s.Tags)
	}
	if s.Gap < eight.boot {
		t.Errorf("the gap was %s, less than the boot of %s: both ran at once", s.Gap, eight.boot)
	}
	unharmed(t, neighbour)
	if now := f.ask(t, "small").Enclave; now != small {
		t.Errorf("another container was moved from %s to %s", small, now)
	}
}

// switched tells whether traffic has switched in an update.
func (f *fleet) switched(t *testing.T, u *cv1.Update) bool {
	t.Helper()
	r, err := f.Updates.GetUpdate(bounded(t), &cv1.GetUpdateRequest{Org: dev.Org, Container: u.GetContainer(), Id: u.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetUpdate().GetSwitchTime() != nil
}

func (f *fleet) route(t *testing.T, name string) *cv1.Route {
	t.Helper()
	r, err := f.Routes.ListRoutes(bounded(t), &cv1.ListRoutesRequest{PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range r.GetRoutes() {
		if route.GetContainer() == name {
			return route
		}
	}
	return nil
}

// wantSteps wants the steps of an update, less RESERVE, which is over at once.
func wantSteps(t *testing.T, u *cv1.Update, want ...string) {
	t.Helper()
	var got []string
	for _, r := range u.GetHistory() {
		if r.GetStep() != cv1.UpdateStep_UPDATE_STEP_RESERVE {
			got = append(got, word(r.GetStep()))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the steps were %v, want %v", got, want)
	}
}

func replaceFromTheCommandLine(t *testing.T, f *fleet) {
	f.running(t, "big", eight, eight)
	says(t, f.ok(t, "container", "update", "plan", "big", "--tag", "v2"), "replace", "downtime", "yes")
	out := f.ok(t, "container", "relaunch", "big", "--tag", "v2", "--yes")
	says(t, out, "1 of 2: stopping the old deployment", "2 of 2: deploying the new one", "SUCCEEDED")
	if a := f.ask(t, "big"); a.Tag != "v2" {
		t.Errorf("%+v answers", a)
	}
	f.fails(t, 1, "HOLD_NEEDS_BLUE_GREEN", "container", "relaunch", "big", "--tag", "v1", "--hold", "--yes")
	f.fails(t, 1, "STRATEGY_UNAVAILABLE", "container", "relaunch", "big", "--tag", "v1", "--strategy", "blue-green", "--yes")
	f.fails(t, 1, "NO_CAPACITY", "container", "template", "big", "another", "--yes")
}

// failedReplaceIsRetried: a failed replace leaves the container FAILED with its
// domain; a start retries it, and another tag redeploys it.
func failedReplaceIsRetried(t *testing.T, f *fleet) {
	broken := eight
	broken.fault = "boot-fails"
	f.running(t, "big", eight, broken, eight)
	u := f.updated(t, "big", "v2", nil, failed)
	c := f.get(t, "big")
	if c.GetStatus() != hasFailed || c.GetReason() != u.GetReason() || c.GetSpec().GetTag() != "v2" || c.GetActiveEnclave() != "" {
		t.Errorf("after a failed replace the container is %v", c)
	}
	if r := f.route(t, "big"); r.GetDomain() != domain("big") || r.GetState() != cv1.RouteState_ROUTE_STATE_CLOSED {
		t.Errorf("after a failed replace the route is %v", r)
	}
	f.refused(t, domain("big"))
	retry, err := f.Containers.StartContainer(bounded(t), &cv1.StartContainerRequest{Org: dev.Org, Name: "big"})
	if err != nil {
		t.Fatalf("retry: %v", err)
	}
	f.ended(t, retry.GetUpdate(), failed) // it is still broken
	f.updated(t, "big", "v3", nil, succeeded)
	if a := f.ask(t, "big"); a.Tag != "v3" {
		t.Errorf("%+v answers after the redeployment", a)
	}
	r := f.casemate(t, "container", "relaunch", "big", "--tag", "v2", "--yes")
	if r.code != 1 {
		t.Errorf("a failed replace gives exit %d: %s%s", r.code, r.out, r.err)
	}
	if r = f.casemate(t, "container", "start", "big", "--yes"); r.code != 1 {
		t.Errorf("a retry that fails gives exit %d: %s%s", r.code, r.out, r.err)
	}
	f.ok(t, "container", "relaunch", "big", "--tag", "v1", "--yes")
	if a := f.ask(t, "big"); a.Tag != "v1" {
		t.Errorf("%+v answers after the redeployment", a)
	}
}

func restoreOnFailure(t *testing.T, f *fleet) {
	broken := eight
	broken.fault = "boot-fails"
	f.running(t, "big", eight, broken)
	l := f.load(t, "big")
	u := f.updated(t, "big", "v2", &cv1.UpdateOptions{RestoreOnFailure: true}, failed)
	if !u.GetRestoring() || u.GetReason() == "" {
		t.Errorf("the update is %v", u)
	}
	if c := f.get(t, "big"); c.GetStatus() != isRunning || c.GetActiveTag() != "v1" || c.GetSpec().GetTag() != "v1" {
		t.Errorf("the container is %v, want v1 again", c)
	}
	unharmed(t, l)
	f.fails(t, 1, "", "container", "relaunch", "big", "--tag", "v2", "--restore-on-failure", "--yes")
	if a := f.ask(t, "big"); a.Tag != "v1" {
		t.Errorf("%+v answers", a)
	}
}

// cancelledReplace cancels in every step before the switch: before the old
// version stops it goes on serving, after that it is brought back.
func cancelledReplace(t *testing.T, f *fleet) {
	f.running(t, "big", eight, eight.loading())
	l := f.load(t, "big")
	for _, step := range []cv1.UpdateStep{
		cv1.UpdateStep_UPDATE_STEP_PREPARE, cv1.UpdateStep_UPDATE_STEP_HOLD_ROUTE, cv1.UpdateStep_UPDATE_STEP_STOP_OLD,
		cv1.UpdateStep_UPDATE_STEP_AWAIT_FREE, cv1.UpdateStep_UPDATE_STEP_BOOT, cv1.UpdateStep_UPDATE_STEP_HEALTH,
	} {
		t.Run(word(step), func(t *testing.T) {
			u := f.beginAt(t, "big", "v2", nil, step)
			f.cancel(t, u)
			f.ended(t, u, cancelled)
			if c := f.get(t, "big"); c.GetStatus() != isRunning || c.GetActiveTag() != "v1" {
				t.Errorf("after the cancellation the container is %v", c)
			}
			if s := unharmed(t, l); !slices.Equal(s.Tags, []string{"v1"}) {
				t.Errorf("clients saw the tags %v, want v1 only", s.Tags)
			}
		})
	}
}

func deletedInAReplace(t *testing.T, f *fleet) {
	for _, step := range []cv1.UpdateStep{
		cv1.UpdateStep_UPDATE_STEP_STOP_OLD, cv1.UpdateStep_UPDATE_STEP_BOOT, cv1.UpdateStep_UPDATE_STEP_HEALTH,
	} {
		t.Run(word(step), func(t *testing.T) {
			name := "big-" + word(step)
			f.running(t, name, eight, eight.loading())
			f.beginAt(t, name, "v2", nil, step)
			f.remove(t, name)
			f.forgotten(t, name)
		})
	}
}

func TestOneGPUOnAFullFleetNeedsDowntimeAllowed(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"1xH100"}})
	one := app{gpus: 1}
	f.running(t, "one", one, one)
	_, err := f.ToTag(bounded(t), "one", "v2", nil, dev.Ended)
	wantError(t, err, codes.FailedPrecondition, "DOWNTIME_REQUIRED", "host-1", "--allow-downtime")
	f.fails(t, 1, "--allow-downtime", "container", "relaunch", "one", "--tag", "v2", "--yes")
	u := f.updated(t, "one", "v2", &cv1.UpdateOptions{AllowDowntime: true}, succeeded)
	if u.GetStrategy() != cv1.Strategy_STRATEGY_REPLACE {
		t.Errorf("with downtime allowed the strategy is %s", u.GetStrategy())
	}
	f.ok(t, "container", "relaunch", "one", "--tag", "v1", "--allow-downtime", "--yes")
	if a := f.ask(t, "one"); a.Tag != "v1" {
		t.Errorf("%+v answers", a)
	}
	err = f.create(t, "two", f.versions(t, "two", one))
	wantError(t, err, codes.ResourceExhausted, "NO_CAPACITY", "host-1", "1 GPU")
}

func TestPlacementFollowsTheFreeGPUsOfAllHosts(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"8xH200", "8xH200"}})
	f.running(t, "big", eight, eight)
	if h := f.get(t, "big").GetActiveHost(); h != "host-1" {
		t.Errorf("the first of two equal hosts is host-1, not %s", h)
	}
	l := f.load(t, "big")
	u := f.updated(t, "big", "v2", nil, succeeded)
	if u.GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN || u.GetHost() != "host-2" {
		t.Errorf("with a second empty host 8 GPUs were updated by %s on %s", u.GetStrategy(), u.GetHost())
	}
	unharmed(t, l)
	f.awaitHost(t, "host-1", func(h *cv1.Host) bool { return !slices.ContainsFunc(h.GetFacts().GetGpus(), held) })
	f.ok(t, "host", "cordon", "host-1")
	says(t, f.ok(t, "host", "list"), "host-1", "CORDONED")
	says(t, f.ok(t, "container", "update", "plan", "big", "--tag", "v1"), "replace", "host-2")
	f.ok(t, "host", "uncordon", "host-1")
	says(t, f.ok(t, "container", "update", "plan", "big", "--tag", "v1"), "blue-green", "host-1")
}

func TestASickCardIsNotOffered(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"8xH200"}})
	appendTo(t, f, "host-1.yaml", "cards: [{index: 0, sick: \"Xid 79: GPU has fallen off the bus\"}]\n")
	f.awaitHost(t, "host-1", func(h *cv1.Host) bool {
		return len(h.GetFacts().GetGpus()) == 8 && !h.GetFacts().GetGpus()[0].GetHealthy()
	})
	says(t, f.ok(t, "host", "get", "host-1"), "Xid 79")
	err := f.create(t, "big", f.versions(t, "big", eight))
	wantError(t, err, codes.ResourceExhausted, "NO_CAPACITY", "host-1")
	for n := range 7 {
		name := fmt.Sprintf("one-%d", n)
		f.deployed(t, name, f.versions(t, name, app{gpus: 1}))
	}
	err = f.create(t, "one-more", f.versions(t, "one-more", app{gpus: 1}))
	wantError(t, err, codes.ResourceExhausted, "NO_CAPACITY", "host-1")
	// What the agent reports of its cards may come after the end of a deployment.
	f.awaitHost(t, "host-1", func(h *cv1.Host) bool {
		gpus := h.GetFacts().GetGpus()
		return !held(gpus[0]) && !slices.ContainsFunc(gpus[1:], func(g *agentv1.Gpu) bool { return !held(g) })
	})
}

// held tells whether a card is an enclave's.
func held(g *agentv1.Gpu) bool { return g.GetEnclaveId() != "" }

// awaitHost watches until what is known of a host is so.
func (f *fleet) awaitHost(t *testing.T, name string, cond func(*cv1.Host) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	stream, err := f.Hosts.WatchHosts(ctx, &cv1.WatchHostsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("host %s never was as expected: %v", name, err)
		}
		if h := m.GetChanged(); h.GetName() == name && cond(h) {
			return
		}
	}
}
