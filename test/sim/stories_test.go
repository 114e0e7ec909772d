package sim

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

// story is a way through the engine's table.
type story struct {
	name    string
	repo    string
	options *cv1.UpdateOptions
	// destiny is what becomes of the candidate.
	destiny fate
	// at lets a person do something once the update is in a step.
	at   model.Step
	does func(w *world)
	// slow: the candidate takes longer to stop than it is given.
	slow bool
	// late: the order to create the candidate takes a minute.
	late bool
	// deaf: no answer to an order to create comes back until the story has it so.
	deaf bool
	// mute: the gateways are out of contact from the start of the update on.
	mute bool
	// hosts is how many there are, 1 if it is 0.
	hosts int
	// backup: one is made before the update.
	backup bool
}

func cancelIt(w *world) { w.submit(w.cancels("api", "")) }

// cancelCutOff cancels while the host is out of reach for a moment: when it is
// back, it tells all it has before it hears that it is to stop anything.
func cancelCutOff(w *world) {
	h := w.hosts[0]
	h.linked = false
	h.lost()
	cancelIt(w)
	w.later(4*time.Second, func() {
		h.linked = true
		for _, c := range w.coords {
			c.fleet.sessions[h.name].connect()
		}
	})
}

// cancelBurnt cancels when the host is gone with all it had; its agent comes back
// and knows nothing.
func cancelBurnt(w *world) {
	w.hosts[0].burn()
	cancelIt(w)
	w.later(4*time.Minute, w.hosts[0].restart)
}

// diesAndBurns lets the candidate die, and the host burn down before what it said of
// that can be committed. Another machine takes its name, which is, and the order to
// create.
func diesAndBurns(w *world) {
	h, id := w.hosts[0], w.inProgress("api").New.ID
	w.disk.tight = true
	w.later(5*time.Second, func() {
		if e := h.enclaves[id]; e != nil && !e.ended() {
			h.dies(e, "VM_EXITED")
		}
	})
	w.later(20*time.Second, h.burn)
	w.later(21*time.Second, h.restart)
	w.later(50*time.Second, func() { w.disk.tight, w.deaf = false, false })
}

// burnsWithAll has the host burn down with what serves and the candidate, and another
// machine take its name.
func burnsWithAll(w *world) {
	w.hosts[0].burn()
	w.later(4*time.Second, w.hosts[0].restart)
}

// hostFallsSilent cuts off the host of the candidate for good, as far as the story
// goes.
func hostFallsSilent(w *world) {
	h := w.host(w.inProgress("api").New.Host)
	h.linked = false
	h.lost()
}

// silentAndAccepted has a person accept a candidate whose host does not answer,
// and cancel in the end.
func silentAndAccepted(w *world) {
	hostFallsSilent(w)
	w.later(30*time.Second, func() { acceptIt(w) })
	w.later(150*time.Second, func() { cancelIt(w) })
}

// forgottenAtTheStart has an operator give the candidate's host up, and the
// coordinator crash before it has told anybody: the next one does at its start, when
// no host has answered it yet.
func forgottenAtTheStart(w *world) {
	w.submit(w.forgets(w.inProgress("api").New.Host, true))
	c := w.leader()
	c.doomed, c.at = 1, "after a commit"
}

// distrustAndCancel has what serves judged again, with bad evidence, and then cancels
// the update.
func distrustAndCancel(w *world) {
	w.spoil("api")
	w.submit(w.attests("api"))
	w.later(10*time.Second, func() { cancelIt(w) })
}

func acceptIt(w *world) { w.submit(w.accepts("api", "api-u2")) }

func stopIt(w *world) { w.submit(w.stops("api")) }

func deleteIt(w *world) { w.submit(w.deletes("api")) }

// replaceIt asks for a replace where there is room for two.
var replaceIt = &cv1.UpdateOptions{Strategy: cv1.Strategy_STRATEGY_REPLACE}

// takenName is the story of a machine that is found to be another.
const takenName = "another machine takes the name of the host that serves"

var stories = []story{
	{name: "blue-green", repo: "one"},
	{name: "blue-green, held and accepted", repo: "one", options: &cv1.UpdateOptions{Hold: true}, at: model.StepHold, does: acceptIt},
	{name: "blue-green that fails", repo: "one", destiny: diesBooting},
	{name: "blue-green that is cancelled", repo: "one", at: model.StepHealth, does: cancelIt},
	{name: "blue-green that somebody wants to cancel after the switch", repo: "one", at: model.StepStopOld, does: cancelIt},
	{name: "cancelled while its host burns down", repo: "one", at: model.StepHealth, does: cancelBurnt},
	{name: "replace", repo: "eight"},
	{name: "replace that fails", repo: "eight", destiny: wrongEvidence},
	{name: "replace that fails and is restored", repo: "eight", options: &cv1.UpdateOptions{RestoreOnFailure: true}, destiny: diesBooting},
	{name: "replace that is cancelled", repo: "eight", at: model.StepStopOld, does: cancelIt},
	{name: "replace that is cancelled, and stops slowly", repo: "eight", at: model.StepHealth, does: cancelIt, slow: true},
	{name: "replace that is cancelled while the route is held", repo: "eight", at: model.StepHoldRoute, does: cancelIt, mute: true},
	{name: "cancelled while the order to boot is on its way", repo: "one", at: model.StepBoot, does: cancelCutOff, late: true},
	{name: "the candidate dies, and another machine takes its host's name", repo: "one", at: model.StepBoot, does: diesAndBurns, deaf: true},
	{name: takenName, repo: "one", at: model.StepHealth, does: burnsWithAll},
	{name: "the candidate's host falls silent before it boots", repo: "one", hosts: 2, at: model.StepPrepare, does: hostFallsSilent},
	{name: "the candidate's host falls silent while it starts", repo: "one", hosts: 2, at: model.StepHealth, does: hostFallsSilent},
	{name: "the host of a held candidate falls silent", repo: "one", hosts: 2, options: &cv1.UpdateOptions{Hold: true}, at: model.StepHold, does: silentAndAccepted},
	{name: "replace whose host falls silent before the downtime", repo: "eight", options: replaceIt, hosts: 2, at: model.StepHoldRoute, does: hostFallsSilent, mute: true},
	{name: "replace whose host falls silent while the old version stops", repo: "eight", options: replaceIt, hosts: 2, at: model.StepStopOld, does: hostFallsSilent},
	{name: "replace whose host falls silent while it starts", repo: "eight", options: replaceIt, hosts: 2, at: model.StepHealth, does: hostFallsSilent},
	{name: "replace whose host is forgotten as a coordinator starts, and is restored", repo: "eight", options: &cv1.UpdateOptions{Strategy: cv1.Strategy_STRATEGY_REPLACE, RestoreOnFailure: true}, hosts: 2, at: model.StepHealth, does: forgottenAtTheStart},
	{name: "what serves is trusted no more while its route is held", repo: "eight", at: model.StepHoldRoute, does: distrustAndCancel, mute: true},
	{name: "stop in the middle", repo: "one", at: model.StepAttest, does: stopIt},
	{name: "delete in the middle", repo: "eight", at: model.StepBoot, does: deleteIt},
}

// crossings are what happens besides, while the coordinator is down.
var crossings = []struct {
	name string
	do   func(w *world)
	down time.Duration
}{
	{"nothing", func(*world) {}, 5 * time.Second},
	{"cancel", cancelIt, 0},
	{"accept", acceptIt, 0},
	{"deadline", func(*world) {}, 40 * time.Minute},
	{"agent loss", func(w *world) { w.hosts[0].crash() }, time.Minute},
	{"host reboot", func(w *world) { w.hosts[0].reboot(); w.hosts[0].restart() }, time.Second},
}

// tell plays a story, with a crash at a point of it if that is not empty.
func tell(t *testing.T, s story, at string, crossing int, verbose bool) (points []string, out outcome, crashed bool) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(plot{seed: 3}, memory.New(memory.Config{}))
		w.hosts, w.tame, w.keep, w.verbose = w.hosts[:max(1, s.hosts)], true, true, verbose
		if s.destiny != fine {
			w.destiny = func(id string) fate {
				if strings.Contains(id, "-r2-") {
					return s.destiny
				}
				return fine
			}
		}
		if s.slow {
			w.slowStop = func(id string) bool { return strings.Contains(id, "-r2-") }
		}
		w.found()
		w.pass(10 * time.Second)
		w.begin(s, at)
		crashed = w.follow(s, crossing)
		w.mu.Lock()
		w.keep = false // whoever puts things in order asks once
		w.mu.Unlock()
		w.settle()
		w.end()
		points = w.points
		out = w.outcome()
	})
	return points, out, crashed
}

// begin deploys version 1, and starts the update.
func (w *world) begin(s story, at string) {
	w.mu.Lock()
	w.submit(w.creates("api", &cv1.ContainerSpec{Repository: repository(s.repo), Tag: "v1", Domain: domain("api")}))
	w.mu.Unlock()
	w.pass(4 * time.Minute)
	w.mu.Lock()
	w.points, w.crashAt = nil, at
	w.late, w.deaf = s.late, s.deaf
	if s.backup {
		w.takeBackup()
	}
	if s.mute {
		for _, g := range w.gates {
			g.linked = false
			g.lost()
		}
	}
	w.submit(w.updates("api", "v2", s.options, false))
	w.mu.Unlock()
}

// findHosts ends the silence of those hosts that a story has cut off.
func (w *world) findHosts() {
	for _, h := range w.hosts {
		if h.up && !h.linked {
			h.linked = true
			w.reconnect(h)
		}
	}
}

// follow watches the update until it is over, and until what is left over is gone,
// crossed by what else happens.
func (w *world) follow(s story, crossing int) bool {
	done, crossed := false, false
	for i := range 1500 {
		w.pass(500 * time.Millisecond)
		w.mu.Lock()
		if i == 1000 {
			w.findHosts()
		}
		x := w.view.containers["acme/api"]
		if s.does != nil && !done && x != nil && x.update != nil && x.update.Step == s.at && w.leader() != nil {
			done = true
			s.does(w)
		}
		hit := strings.HasPrefix(w.crashAt, "done: ")
		if hit && !crossed {
			crossed = true
			w.downUntil = time.Now().Add(crossings[crossing].down)
			if crossings[crossing].down > 0 {
				crossings[crossing].do(w)
			}
		}
		w.mu.Unlock()
		if crossed {
			w.pass(crossings[crossing].down + time.Millisecond)
			w.mu.Lock()
			if crossings[crossing].down == 0 {
				crossings[crossing].do(w)
			}
			w.mu.Unlock()
			w.pass(3 * time.Minute)
			return true
		}
	}
	return false
}
