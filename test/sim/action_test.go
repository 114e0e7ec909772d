package sim

import (
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
)

// action is one thing that users, people, machines or chance do. A and B choose
// among what there is when it is done, so that a list of actions stays meaningful
// when others are taken out of it.
type action struct{ Kind, A, B, Pass uint8 }

// kind is a sort of action: its name, how often it is chosen, and what it does.
type kind struct {
	name   string
	weight int
	do     func(w *world, a action)
}

var orgs = [3]string{"api", "chat", "web"}

// key is the container that an action is about.
func (a action) key() model.ContainerKey { return model.ContainerKey{Org: "acme", Name: orgs[a.A%3]} }

func (w *world) pick(a action) *host { return w.hosts[int(a.A)%len(w.hosts)] }

func (w *world) gate(a action) *gateway { return w.gates[int(a.A)%len(w.gates)] }

// kinds are all actions. Passing time is done by the run itself.
var kinds = []kind{
	{"wait a moment", 20, func(w *world, a action) {}},
	{"deploy", 14, (*world).deploy},
	{"update", 20, (*world).update},
	{"repeat the last request", 4, func(w *world, _ action) {
		if w.last != nil {
			w.submit(*w.last, true)
		}
	}},
	{"accept", 8, func(w *world, a action) {
		w.onUpdate("accept "+a.key().Name, a.key(), func(u *model.Update) engine.Event { return engine.Accept{ID: u.ID} })
	}},
	{"cancel", 6, func(w *world, a action) {
		w.onUpdate("cancel "+a.key().Name, a.key(), func(u *model.Update) engine.Event {
			return engine.Cancel{ID: u.ID, Reason: "CANCELLED", Text: "cancelled by a person"}
		})
	}},
	{"force", 2, func(w *world, a action) {
		w.onUpdate("force "+a.key().Name, a.key(), func(u *model.Update) engine.Event {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.forced[u.ID+string(u.Step)] = true
			return engine.Force{ID: u.ID, Step: u.Step}
		})
	}},
	{"stop", 3, func(w *world, a action) { w.teardown(a, model.TeardownStop) }},
	{"delete", 3, func(w *world, a action) { w.teardown(a, model.TeardownDelete) }},
	{"crash the coordinator", 4, func(w *world, _ action) {
		if c := w.leader(); c != nil && !c.dead {
			w.say("the coordinator crashes")
			c.die()
		}
	}},
	{"crash it at a commit", 6, func(w *world, a action) { w.aim(a, [2]string{"before a commit", "after a commit"}[a.B%2]) }},
	{"crash it at a call", 6, func(w *world, a action) { w.aim(a, "") }},
	{"a second coordinator", 2, func(w *world, _ action) { w.downUntil = time.Now().Add(time.Millisecond) }},
	{"crash an agent", 4, func(w *world, a action) { w.say("the agent of %s crashes", w.pick(a).name); w.pick(a).crash() }},
	{"restart an agent", 6, func(w *world, a action) { w.say("the agent of %s is started", w.pick(a).name); w.pick(a).restart() }},
	{"cut a host off", 4, func(w *world, a action) {
		w.say("%s is cut off", w.pick(a).name)
		w.pick(a).linked = false
		w.pick(a).lost()
	}},
	{"connect a host", 6, func(w *world, a action) {
		if h := w.pick(a); !h.linked {
			w.say("%s is connected again", h.name)
			h.linked = true
			w.reconnect(h)
		}
	}},
	{"reboot a host", 1, func(w *world, a action) { w.say("%s reboots", w.pick(a).name); w.pick(a).reboot() }},
	{"a GPU goes sick", 2, (*world).sicken},
	{"GPUs get well", 2, func(w *world, a action) { w.pick(a).heal() }},
	{"an agent lies", 1, func(w *world, a action) { w.say("%s begins to lie", w.pick(a).name); w.pick(a).liar = true }},
	{"an agent tells the truth", 2, func(w *world, a action) { w.pick(a).confess() }},
	{"a claim is refused", 2, func(w *world, a action) { w.pick(a).refusals = 1 + int(a.B)%3 }},
	{"stopping takes long", 2, func(w *world, a action) { w.pick(a).stoppingLong = a.B%2 == 0 }},
	{"a stray enclave", 2, (*world).stray},
	{"an enclave dies", 3, (*world).killOne},
	{"an enclave falls ill or recovers", 4, (*world).sway},
	{"restart a gateway", 3, func(w *world, a action) {
		g := w.gate(a)
		if g.up {
			w.say("gateway %s crashes", g.name)
			g.crash()
			return
		}
		w.say("gateway %s starts", g.name)
		g.up = true
		w.reconnectGateways()
	}},
	{"a gateway is cut off or found", 3, func(w *world, a action) {
		g := w.gate(a)
		if g.linked = !g.linked; g.linked {
			w.reconnectGateways()
			return
		}
		w.say("gateway %s is cut off", g.name)
		g.lost()
	}},
	{"the clock jumps", 2, func(w *world, a action) {
		d := time.Duration(int(a.B)-128) * 5 * time.Second
		w.say("the clock jumps by %s", d)
		w.offset += d
	}},
	{"the disk is full or not", 2, func(w *world, a action) { w.disk.full = !w.disk.full; w.say("the disk is full: %v", w.disk.full) }},
	{"commits fail", 3, func(w *world, a action) { w.disk.failing = 1 + int(a.B)%3 }},
	{"commits are in doubt", 3, func(w *world, a action) { w.disk.doubtful = 1 + int(a.B)%3 }},
	{"the network is bad or good", 3, func(w *world, a action) {
		w.lossy, w.slow = int(a.A)%40, int(a.B)%20
		if a.B%3 == 0 {
			w.lossy, w.slow = 0, 0
		}
		w.say("%d%% of the calls are lost, latencies are %d times as long", w.lossy, 1+w.slow)
	}},
	{"cordon or uncordon", 1, func(w *world, a action) { w.pick(a).cordoned = !w.pick(a).cordoned }},
}

// words says what an action is.
func (a action) words() string {
	k := int(a.Kind) % len(kinds)
	return fmt.Sprintf("{%d, %d, %d, %d}, // %s, then %s", k, a.A, a.B, a.Pass, kinds[k].name, a.pass())
}

func (w *world) aim(a action, at string) {
	if c := w.leader(); c != nil {
		c.doomed, c.at = 1+int(a.A)%6, at
	}
}

func (w *world) deploy(a action) {
	w.serial++
	k := a.key()
	repo := [...]string{"zero", "one", "one", "two", "eight", "eight"}[int(a.B)%6]
	w.submit(request{
		id: fmt.Sprintf("q%d", w.serial), create: true, key: k,
		spec: model.ContainerSpec{Repository: repo, Tag: "v1", Domain: k.Name + ".example"},
	}, false)
}

func (w *world) update(a action) {
	s := w.view.containers[a.key().String()]
	if s == nil || s.container == nil {
		w.deploy(a)
		return
	}
	w.serial++
	spec := s.container.Spec
	spec.Tag = fmt.Sprintf("v%d", 1+int(a.B)%5)
	if a.B%16 == 15 {
		spec.Repository = [...]string{"zero", "one", "two", "eight"}[int(a.A)/3%4]
	}
	w.submit(request{id: fmt.Sprintf("q%d", w.serial), key: a.key(), spec: spec, options: model.UpdateOptions{
		Hold: a.A&4 != 0 && a.A&8 != 0, AllowDowntime: a.A&16 != 0, RestoreOnFailure: a.A&32 != 0,
		Strategy: [...]model.Strategy{"", "", model.BlueGreen, model.Replace}[a.A>>6],
	}}, false)
}

func (w *world) teardown(a action, kind model.TeardownKind) {
	w.event(fmt.Sprintf("%s %s", kind, a.key().Name), a.key(), func(*records.Loaded) (engine.Event, error) {
		return engine.Stop{Kind: kind}, nil
	})
}

func (w *world) sicken(a action) {
	h := w.pick(a)
	g := &h.gpus[int(a.B)%gpusPerHost]
	w.say("GPU %d of %s goes sick", int(a.B)%gpusPerHost, h.name)
	g.sick = true
	if e := h.enclaves[g.holder]; e != nil && a.B&64 != 0 && !e.ended() {
		h.dies(e, "GPU_LOST")
		return
	}
	h.factsChanged()
}

func (h *host) heal() {
	for i := range h.gpus {
		h.gpus[i].sick = false
	}
	h.factsChanged()
}

func (h *host) factsChanged() {
	if !h.up {
		return
	}
	for _, s := range h.followers {
		s.sendFacts()
	}
}

// stray puts an enclave on a host that no coordinator has asked for.
func (w *world) stray(a action) {
	h := w.pick(a)
	free := h.free()
	if len(free) == 0 || !h.up {
		return
	}
	w.serial++
	e := &enclave{
		id: fmt.Sprintf("stray-r1-%d", w.serial), cluster: cluster, key: a.key(), state: model.EnclaveHealthy, claimed: true,
		room: model.Room{GPUs: 1, CPUs: 1, MemoryMiB: 1}, gpus: free[:1],
	}
	if h.cpus < 1 || h.memory < 1 {
		return
	}
	if a.B%3 == 0 {
		e.cluster, e.foreign = "cluster-2", true
	}
	w.say("%s is found on %s (cluster %s)", e.id, h.name, e.cluster)
	h.claim(e)
	h.changed(e)
}

// chosen returns an enclave that runs.
func (w *world) chosen(a action) (*host, *enclave) {
	h := w.pick(a)
	var live []*enclave
	for _, e := range h.sorted() {
		if !e.ended() && !e.foreign {
			live = append(live, e)
		}
	}
	if len(live) == 0 {
		return h, nil
	}
	return h, live[int(a.B)%len(live)]
}

func (w *world) killOne(a action) {
	if h, e := w.chosen(a); e != nil {
		h.dies(e, "VM_EXITED")
	}
}

func (w *world) sway(a action) {
	h, e := w.chosen(a)
	if e == nil {
		return
	}
	switch e.state {
	case model.EnclaveHealthy:
		e.state = model.EnclaveUnhealthy
	case model.EnclaveUnhealthy:
		e.state = model.EnclaveHealthy
	default:
		return
	}
	w.say("%s on %s is %s", e.id, h.name, e.state)
	h.changed(e)
}
