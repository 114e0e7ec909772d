package netns

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/dev"
)

// outage is how long a part is away in the middle of an update.
const outage = 1500 * time.Millisecond

// disturbance is what happens in the middle of an update, and how it ends.
type disturbance struct {
	what        string
	begin, heal func(f *fleet) error
}

// disturbances spare only the enclave that serves and the gateway in the path.
// The update goes from one host (by number) to the other one.
func disturbances(from, to int) []disturbance {
	list := []disturbance{
		{"the coordinator is killed", killCoordinator, (*fleet).coordinatorBack},
		{"the old host's agent is killed", killAgent(from), agentBack(from)},
		{"the new host's agent is killed", killAgent(to), agentBack(to)},
		{"everything but the path is killed", killAll, allBack},
		{"the other gateway is killed", func(f *fleet) error { return f.GatewayProc[1].Kill() }, func(f *fleet) error { return f.StartGateway(1) }},
		{"the coordinator hangs", signal(coordinatorOf, syscall.SIGSTOP), signal(coordinatorOf, syscall.SIGCONT)},
		{"the old host's agent hangs", signal(agentOf(from), syscall.SIGSTOP), signal(agentOf(from), syscall.SIGCONT)},
		{"the new host's agent hangs", signal(agentOf(to), syscall.SIGSTOP), signal(agentOf(to), syscall.SIGCONT)},
		{"the coordinator loses both its links", cutOff("coordinator"), joinAgain("coordinator")},
	}
	nodes := []struct{ what, node string }{
		{"the coordinator's", "coordinator"}, {"the old host's", agent(from)}, {"the new host's", agent(to)},
		{"the gateway's", "gateway-1"}, {"the other gateway's", "gateway-2"},
	}
	for _, n := range nodes {
		list = append(list,
			disturbance{n.what + " link is cut", links(n.node, condition{Cut: true}), links(n.node, condition{})},
			disturbance{n.what + " link is slow and loses frames", links(n.node, condition{Delay: 200 * time.Millisecond, Loss: 0.05}), links(n.node, condition{})},
		)
	}
	return list
}

func TestBlueGreenLosesNothingWhateverElseFails(t *testing.T) {
	t.Parallel()
	f := start(t, "none", "none")
	load := f.deploy(t, "web", dev.HostName(0))
	for i := range disturbances(0, 1) {
		from, to := i%2, (i+1)%2
		d := disturbances(from, to)[i]
		t.Run(d.what, func(t *testing.T) {
			tag := []string{"v1.1.0", "v1.3.0"}[i%2]
			u := f.begin(t, "web", tag, dev.HostName(to))
			f.follow(t, u, dev.Started)
			if err := d.begin(f); err != nil {
				t.Fatal(err)
			}
			time.Sleep(outage) // the fault itself takes this long
			if err := d.heal(f); err != nil {
				t.Fatal(err)
			}
			succeeded(t, f.follow(t, u, dev.Ended))
			f.allReady(t)
			f.onlyRuns(t, f.container(t, "web", running(tag)).GetActiveEnclave())
			s := unharmed(t, load)
			t.Logf("%d requests, longest gap %s", s.Sent, s.Gap.Round(time.Millisecond))
		})
	}
}

func killCoordinator(f *fleet) error { return f.Coordinator.Kill() }

func killAgent(n int) func(*fleet) error {
	return func(f *fleet) error { return f.Agents[n].Kill() }
}

func (f *fleet) coordinatorBack() error { return f.StartCoordinator() }

func agentBack(n int) func(*fleet) error {
	return func(f *fleet) error { return f.StartAgent(n) }
}

func killAll(f *fleet) error {
	return errors.Join(f.Coordinator.Kill(), f.Agents[0].Kill(), f.Agents[1].Kill(), f.GatewayProc[1].Kill())
}

func allBack(f *fleet) error {
	return errors.Join(f.StartAgent(0), f.StartAgent(1), f.StartCoordinator(), f.StartGateway(1))
}

func coordinatorOf(f *fleet) *dev.Process { return f.Coordinator }

func agentOf(n int) func(*fleet) *dev.Process {
	return func(f *fleet) *dev.Process { return f.Agents[n] }
}

func signal(of func(*fleet) *dev.Process, s syscall.Signal) func(*fleet) error {
	return func(f *fleet) error {
		if err := of(f).Signal(s); err != nil {
			return fmt.Errorf("signal %s: %w", s, err)
		}
		return nil
	}
}

func links(node string, c condition) func(*fleet) error {
	return func(f *fleet) error { return f.net.calls.set(node, c) }
}

func cutOff(node string) func(*fleet) error {
	return func(f *fleet) error {
		return errors.Join(f.net.calls.set(node, condition{Cut: true}), f.net.traffic(node, false))
	}
}

func joinAgain(node string) func(*fleet) error {
	return func(f *fleet) error {
		return errors.Join(f.net.calls.set(node, condition{}), f.net.traffic(node, true))
	}
}
