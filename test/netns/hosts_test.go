package netns

import (
	"fmt"
	"maps"
	"testing"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

const (
	ready       = cv1.HostStatus_HOST_STATUS_READY
	unreachable = cv1.HostStatus_HOST_STATUS_UNREACHABLE
)

func TestAHostThatDoesNotAnswerIsNotGone(t *testing.T) {
	t.Parallel()
	f := start(t, "none", "none")
	load := f.deploy(t, "web", dev.HostName(0))
	before := f.pids(t)
	old := f.guests(t)[0]

	if err := f.net.calls.set(agent(0), condition{Cut: true}); err != nil {
		t.Fatal(err)
	}
	f.hostIs(t, 0, unreachable)
	if after := f.pids(t); !maps.Equal(before, after) {
		t.Errorf("what runs changed from %v to %v when a host fell silent", before, after)
	}
	f.container(t, "web", running("v1.0.0"))
	f.container(t, "web", silent(true))
	unharmed(t, load)

	// An update moves on without it, and remembers what it had to leave behind.
	u := f.follow(t, f.begin(t, "web", "v1.1.0", dev.HostName(1)), dev.Ended)
	succeeded(t, u)
	c := f.container(t, "web", func(c *cv1.Container) string {
		if len(c.GetLeftoverEnclaves()) == 1 && c.GetLeftoverEnclaves()[0] == old {
			return ""
		}
		return fmt.Sprintf("left over is %v, want %s", c.GetLeftoverEnclaves(), old)
	})
	f.onlyRuns(t, old, c.GetActiveEnclave())

	if err := f.net.calls.set(agent(0), condition{}); err != nil {
		t.Fatal(err)
	}
	f.allReady(t)
	c = f.container(t, "web", running("v1.1.0"))
	f.container(t, "web", silent(false))
	f.onlyRuns(t, c.GetActiveEnclave())
	unharmed(t, load)
}

// silent wants a container's status to say since when the host of what serves has
// not answered, or that it does.
func silent(want bool) func(*cv1.Container) string {
	return func(c *cv1.Container) string {
		if since := c.GetHostUnreachableSince(); (since != nil) != want {
			return fmt.Sprintf("host %s is shown as unreachable since %v, want so: %v", c.GetActiveHost(), since, want)
		}
		return ""
	}
}

func TestWhatRanOnAForgottenHostIsStartedElsewhere(t *testing.T) {
	t.Parallel()
	f := start(t, "none", "none")
	f.deploy(t, "web", dev.HostName(0)).Stop()
	load := f.load(t, "web", 5*time.Second)                 // nobody answers for what is lost
	f.follow(t, f.begin(t, "web", "v1.1.0", ""), dev.Ended) // any host from now on
	c := f.container(t, "web", running("v1.1.0"))
	n := map[string]int{dev.HostName(0): 0, dev.HostName(1): 1}[c.GetActiveHost()]

	if err := cutOff(agent(n))(f); err != nil {
		t.Fatal(err)
	}
	f.hostIs(t, n, unreachable)
	_, err := f.Hosts.RemoveHost(bounded(t), &cv1.RemoveHostRequest{Name: dev.HostName(n)})
	if err == nil {
		t.Fatal("a host with an enclave was forgotten without force")
	}
	if _, err := f.Hosts.RemoveHost(bounded(t), &cv1.RemoveHostRequest{Name: dev.HostName(n), Force: true}); err != nil {
		t.Fatal(err)
	}
	f.container(t, "web", func(c *cv1.Container) string {
		if missing := running("v1.1.0")(c); missing != "" || c.GetActiveHost() == dev.HostName(1-n) {
			return missing
		}
		return fmt.Sprintf("web serves on %s, which was forgotten", c.GetActiveHost())
	})
	if err := load.AwaitAnswer(bounded(t)); err != nil {
		t.Error(err)
	}
}

func TestADeadEnclaveIsStartedAgain(t *testing.T) {
	t.Parallel()
	f := start(t, "none", "none")
	load := f.deploy(t, "web", dev.HostName(0))
	first := f.container(t, "web", running("v1.0.0"))

	f.kill(t, first.GetActiveEnclave())
	f.container(t, "web", told)
	second := f.container(t, "web", running("v1.0.0"))
	if second.GetActiveHost() != dev.HostName(0) {
		t.Errorf("a container that is kept to %s was started on %s", dev.HostName(0), second.GetActiveHost())
	}
	f.follow(t, f.begin(t, "web", "v1.1.0", ""), dev.Ended) // any host from now on
	third := f.container(t, "web", running("v1.1.0"))
	n := map[string]int{dev.HostName(0): 0, dev.HostName(1): 1}[third.GetActiveHost()]
	if _, err := f.Hosts.CordonHost(bounded(t), &cv1.CordonHostRequest{Name: dev.HostName(n)}); err != nil {
		t.Fatal(err)
	}
	f.kill(t, third.GetActiveEnclave())
	f.container(t, "web", told)
	fourth := f.container(t, "web", running("v1.1.0"))
	if fourth.GetActiveHost() != dev.HostName(1-n) {
		t.Errorf("it was started again on the cordoned host %s", fourth.GetActiveHost())
	}
	f.onlyRuns(t, fourth.GetActiveEnclave())
	if err := load.AwaitAnswer(bounded(t)); err != nil {
		t.Error(err)
	}
}

// told wants a container's status to say that it is started again.
func told(c *cv1.Container) string {
	if c.GetStatus() == cv1.ContainerStatus_CONTAINER_STATUS_DEPLOYING && c.GetReason() != "" && c.GetText() != "" {
		return ""
	}
	return fmt.Sprintf("%s is %s (%s: %s), want DEPLOYING with a reason", c.GetName(), c.GetStatus(), c.GetReason(), c.GetText())
}

func TestDrainMovesEverythingWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	f := start(t, "8xH200", "8xH200")
	loads := []*dev.Load{f.deploy(t, "web", ""), f.deploy(t, "chat", "")}
	for _, n := range []int{0, 1} {
		r, err := f.Hosts.DrainHost(bounded(t), &cv1.DrainHostRequest{Name: dev.HostName(n)})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.GetStays()) > 0 {
			t.Errorf("drain left %v", r.GetStays())
		}
		for _, m := range r.GetMoved() {
			succeeded(t, f.follow(t, &cv1.Update{Org: m.GetOrg(), Container: m.GetContainer(), Id: m.GetUpdate()}, dev.Ended))
		}
		for _, name := range []string{"web", "chat"} {
			if c := f.container(t, name, running("v1.0.0")); c.GetActiveHost() != dev.HostName(1-n) {
				t.Errorf("%s serves on %s after %s was drained", name, c.GetActiveHost(), dev.HostName(n))
			}
		}
		if _, err := f.Hosts.UncordonHost(bounded(t), &cv1.UncordonHostRequest{Name: dev.HostName(n)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range loads {
		unharmed(t, l)
	}
}
