package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// slow is a version whose steps are long enough to be interrupted.
var slow = app{boot: 300 * time.Millisecond, load: 300 * time.Millisecond, fault: "slow-stop:200ms"}

func slowEight() app {
	a := slow
	a.gpus = 8
	return a
}

// end ends a process: politely, or as a power cut does.
func end(t *testing.T, p *dev.Process, how syscall.Signal) {
	t.Helper()
	if err := p.Signal(how); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-bounded(t).Done():
		t.Fatalf("%s did not end on %s", p.Name, how)
	}
}

// coordinatorAgain starts the coordinator again and waits until it answers.
func (f *fleet) coordinatorAgain(t *testing.T) {
	t.Helper()
	if err := f.StartCoordinator(); err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	for {
		_, err := f.Hosts.ListHosts(ctx, &cv1.ListHostsRequest{}, grpc.WaitForReady(true))
		if err == nil {
			return
		}
		// The old connection may not have been noticed to be broken yet.
		if ctx.Err() != nil || rpc.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
	}
}

func ready(h *cv1.Host) bool { return h.GetStatus() == cv1.HostStatus_HOST_STATUS_READY }

// agentAgain starts the first agent again and waits until its host is ready.
func (f *fleet) agentAgain(t *testing.T) {
	t.Helper()
	if err := f.StartAgent(0); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, f.AgentSocket(0))
	if _, err := agentv1.NewHostServiceClient(conn).GetHost(bounded(t), &agentv1.GetHostRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	f.awaitHost(t, "host-1", ready)
}

func TestACoordinatorKilledInAnyStepGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"8xH200"}})
	f.running(t, "green", slow, slow)
	f.running(t, "big", slowEight(), slowEight())
	for _, c := range []struct {
		name  string
		steps []cv1.UpdateStep
	}{
		{"green", []cv1.UpdateStep{
			cv1.UpdateStep_UPDATE_STEP_PREPARE, cv1.UpdateStep_UPDATE_STEP_BOOT, cv1.UpdateStep_UPDATE_STEP_ATTEST,
			cv1.UpdateStep_UPDATE_STEP_HEALTH, cv1.UpdateStep_UPDATE_STEP_HOLD, cv1.UpdateStep_UPDATE_STEP_SWITCH,
			cv1.UpdateStep_UPDATE_STEP_DRAIN, cv1.UpdateStep_UPDATE_STEP_STOP_OLD,
		}},
		{"big", []cv1.UpdateStep{
			cv1.UpdateStep_UPDATE_STEP_PREPARE, cv1.UpdateStep_UPDATE_STEP_HOLD_ROUTE, cv1.UpdateStep_UPDATE_STEP_STOP_OLD,
			cv1.UpdateStep_UPDATE_STEP_AWAIT_FREE, cv1.UpdateStep_UPDATE_STEP_BOOT, cv1.UpdateStep_UPDATE_STEP_ATTEST,
			cv1.UpdateStep_UPDATE_STEP_HEALTH, cv1.UpdateStep_UPDATE_STEP_SWITCH,
		}},
	} {
		l := f.load(t, c.name)
		for n, step := range c.steps {
			t.Run(c.name+"/"+word(step), func(t *testing.T) {
				to := []string{"v2", "v1"}[n%2]
				f.killedAt(t, c.name, to, step)
				unharmed(t, l)
				if a := f.ask(t, c.name); a.Tag != to {
					t.Errorf("%+v answers, want %s", a, to)
				}
			})
		}
		l.Stop()
	}
}

// killedAt kills the coordinator when an update is in a step, starts it again,
// and wants the update to succeed.
func (f *fleet) killedAt(t *testing.T, name, to string, step cv1.UpdateStep) {
	t.Helper()
	var o *cv1.UpdateOptions
	if step == cv1.UpdateStep_UPDATE_STEP_HOLD {
		o = hold
	}
	u := f.beginAt(t, name, to, o, step)
	end(t, f.Coordinator, syscall.SIGKILL)
	f.coordinatorAgain(t)
	if step == cv1.UpdateStep_UPDATE_STEP_HOLD {
		u = f.at(t, u, step)
		// Until the agents are heard again nobody knows whether it is healthy.
		f.awaitHost(t, "host-1", ready)
		if err := f.accept(t, u); err != nil {
			t.Fatal(err)
		}
	}
	f.ended(t, u, succeeded)
}

func TestACoordinatorKilledDuringACancellationFinishesIt(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"none"}})
	f.running(t, "green", slow, slow.loading())
	l := f.load(t, "green")
	u := f.beginAt(t, "green", "v2", nil, cv1.UpdateStep_UPDATE_STEP_HEALTH)
	f.cancel(t, u)
	end(t, f.Coordinator, syscall.SIGKILL)
	f.coordinatorAgain(t)
	f.ended(t, u, cancelled)
	unharmed(t, l)
	f.beginAt(t, "green", "v2", nil, cv1.UpdateStep_UPDATE_STEP_BOOT)
	if _, err := f.Containers.DeleteContainer(bounded(t), &cv1.DeleteContainerRequest{Org: dev.Org, Name: "green"}); err != nil {
		t.Fatal(err)
	}
	l.Stop()
	end(t, f.Coordinator, syscall.SIGKILL)
	f.coordinatorAgain(t)
	f.gone(t, "green")
	f.forgotten(t, "green")
}

func TestAWatchResumesFromItsTokenWithAnotherCoordinatorProcess(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"none"}})
	f.running(t, "green", app{}, app{})
	ctx := bounded(t)
	stream, err := f.Updates.WatchUpdates(ctx, &cv1.WatchUpdatesRequest{Org: dev.Org, Container: "green"})
	if err != nil {
		t.Fatal(err)
	}
	token := ""
	for token == "" {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetSynced() != nil {
			token = m.GetResumeToken()
		}
	}
	u := f.updated(t, "green", "v2", nil, succeeded)
	end(t, f.Coordinator, syscall.SIGKILL)
	f.coordinatorAgain(t)
	missed := f.watchFrom(t, u, token, dev.Ended)
	if len(missed) < len(u.GetHistory())-2 {
		t.Errorf("after the restart only %d changes came again, and the update had %d steps", len(missed), len(u.GetHistory()))
	}
}

func TestEnclavesOutliveTheirAgent(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"8xH200"}})
	one := slow
	one.gpus = 1
	f.running(t, "green", one, one)
	l := f.load(t, "green")
	serving := f.get(t, "green").GetActiveEnclave()
	for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		end(t, f.Agents[0], how)
		f.agentAgain(t)
		if c := f.get(t, "green"); c.GetActiveEnclave() != serving || c.GetStatus() != isRunning {
			t.Errorf("after %s of the agent the container is %v", how, c)
		}
		unharmed(t, l)
	}
	for n, step := range []cv1.UpdateStep{
		cv1.UpdateStep_UPDATE_STEP_PREPARE, cv1.UpdateStep_UPDATE_STEP_BOOT, cv1.UpdateStep_UPDATE_STEP_HEALTH,
		cv1.UpdateStep_UPDATE_STEP_DRAIN, cv1.UpdateStep_UPDATE_STEP_STOP_OLD,
	} {
		for m, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(word(step)+"/"+how.String(), func(t *testing.T) {
				to := []string{"v2", "v1"}[(2*n+m)%2]
				u := f.beginAt(t, "green", to, nil, step)
				end(t, f.Agents[0], how)
				f.agentAgain(t)
				// A kill in the step before may come late, and find it in BOOT.
				if (step == cv1.UpdateStep_UPDATE_STEP_PREPARE || step == cv1.UpdateStep_UPDATE_STEP_BOOT) && how == syscall.SIGKILL {
					f.endedAfterAKillInBoot(t, u)
				} else {
					f.ended(t, u, succeeded)
				}
				unharmed(t, l)
			})
		}
	}
	l.Stop()
}

// endedAfterAKillInBoot accepts two ends: an agent that is killed between the
// start of a guest's process and the guest's first breath takes the candidate
// with it. The update then fails and says so, and the old version serves on.
func (f *fleet) endedAfterAKillInBoot(t *testing.T, u *cv1.Update) {
	t.Helper()
	u, err := f.Await(bounded(t), u, dev.Ended)
	if err != nil {
		t.Fatal(err)
	}
	if u.GetStatus() != succeeded && u.GetReason() != "VM_EXITED" {
		t.Errorf("update %s ended as %s: %s %s", u.GetId(), u.GetStatus(), u.GetReason(), u.GetText())
	}
}

func TestAGatewayServesFromDiskWithoutACoordinator(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"none"}})
	f.running(t, "green", app{}, app{})
	end(t, f.Coordinator, syscall.SIGKILL)
	f.ask(t, "green")
	end(t, f.GatewayProc[0], syscall.SIGKILL)
	if err := f.StartGateway(0); err != nil {
		t.Fatal(err)
	}
	f.awaitAnswer(t, "green")
	f.coordinatorAgain(t)
	f.awaitHost(t, "host-1", ready) // nothing is placed on one that has not answered
	l := f.load(t, "green")
	f.updated(t, "green", "v2", nil, succeeded)
	unharmed(t, l)
	l.Stop()
}

// awaitAnswer asks until a gateway that has just been started listens.
func (f *fleet) awaitAnswer(t *testing.T, name string) {
	t.Helper()
	ctx := bounded(t)
	for {
		_, err := get(ctx, f.GatewayAddr, domain(name))
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("nobody answers for %s: %v", name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestACoordinatorWithAForeignOrEmptyStoreTouchesNothing(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"8xH200"}})
	f.running(t, "green", app{gpus: 1}, app{gpus: 1})
	l := f.load(t, "green")
	serving := f.get(t, "green").GetActiveEnclave()
	other := start(t, dev.Options{})
	if _, err := other.Hosts.AddHost(bounded(t), &cv1.AddHostRequest{Name: "host-1", Address: f.AgentSocket(0)}); err != nil {
		t.Fatal(err)
	}
	refused := func(h *cv1.Host) bool {
		return h.GetStatus() == cv1.HostStatus_HOST_STATUS_REFUSED && h.GetText() != ""
	}
	other.awaitHost(t, "host-1", refused)
	says(t, other.ok(t, "host", "list"), "host-1", "REFUSED")
	spec := other.versions(t, "thief", app{})
	if err := other.create(t, "thief", spec); err == nil {
		t.Error("a foreign coordinator deployed on somebody else's host")
	}
	unharmed(t, l)
	// An empty store is a foreign one.
	end(t, f.Coordinator, syscall.SIGTERM)
	state, away := filepath.Join(f.Dir, "coordinator"), filepath.Join(f.Dir, "coordinator.away")
	rename(t, state, away)
	f.coordinatorAgain(t)
	if _, err := f.Hosts.AddHost(bounded(t), &cv1.AddHostRequest{Name: "host-1", Address: f.AgentSocket(0)}); err != nil {
		t.Fatal(err)
	}
	f.awaitHost(t, "host-1", refused)
	unharmed(t, l)
	end(t, f.Coordinator, syscall.SIGTERM)
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	rename(t, away, state)
	f.coordinatorAgain(t)
	f.awaitHost(t, "host-1", ready)
	if now := f.get(t, "green").GetActiveEnclave(); now != serving {
		t.Errorf("%s serves, want %s as before", now, serving)
	}
	f.updated(t, "green", "v2", nil, succeeded)
	unharmed(t, l)
	l.Stop()
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
