package sim

import (
	"fmt"
	"strings"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
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

var names = [3]string{"api", "chat", "web"}

// key is the container that an action is about.
func (a action) key() model.ContainerKey { return model.ContainerKey{Org: org, Name: a.name()} }

func (a action) name() string { return names[a.A%3] }

func (w *world) pick(a action) *host { return w.hosts[int(a.A)%len(w.hosts)] }

func (w *world) gate(a action) *gateway { return w.gates[int(a.A)%len(w.gates)] }

// kinds are all actions. Passing time is done by the run itself.
var kinds = []kind{
	{"wait a moment", 20, func(w *world, a action) {}},
	{"deploy", 14, (*world).deploy},
	{"update", 20, (*world).update},
	{"redeploy", 3, func(w *world, a action) { w.submit(w.updates(a.name(), "", w.options(a), false)) }},
	{"copy a container", 2, func(w *world, a action) { w.submit(w.copies(names[a.B%3], a.name())) }},
	{"start", 4, func(w *world, a action) { w.submit(w.starts(a.name())) }},
	{"repeat the last request", 6, func(w *world, _ action) {
		if w.last != nil {
			r := *w.last
			r.what = "once more: " + strings.TrimPrefix(r.what, "once more: ")
			w.submit(r)
		}
	}},
	{"accept", 8, (*world).accept},
	{"cancel", 6, (*world).cancel},
	{"force", 2, func(w *world, a action) {
		if u := w.inProgress(a.name()); u != nil {
			w.submit(w.forces(a.name(), u))
		}
	}},
	{"stop", 3, func(w *world, a action) { w.submit(w.stops(a.name())) }},
	{"delete", 3, func(w *world, a action) { w.submit(w.deletes(a.name())) }},
	{"keep a secret", 3, func(w *world, a action) { w.submit(w.keeps(a.B)) }},
	{"look at everything", 1, func(w *world, a action) { w.submit(w.looks(a.name())) }},
	{"watches break off", 2, func(w *world, _ action) { w.breakOff() }},
	{"drain a host", 2, func(w *world, a action) { w.submit(w.drains(w.pick(a).name)) }},
	{"cordon or uncordon", 3, func(w *world, a action) { w.submit(w.cordons(w.pick(a).name, a.B%2 == 0)) }},
	{"forget a host", 2, (*world).forget},
	{"add a host", 3, func(w *world, a action) { w.submit(w.adds(w.pick(a).name)) }},
	{"crash the coordinator", 4, func(w *world, _ action) {
		if c := w.leader(); c != nil && !c.dead {
			w.say("the coordinator crashes")
			c.die()
		}
	}},
	{"crash it at a commit", 6, func(w *world, a action) { w.aim(a, [2]string{"before a commit", "after a commit"}[a.B%2]) }},
	{"crash it at a call", 6, func(w *world, a action) { w.aim(a, "") }},
	{"a second coordinator", 2, func(w *world, _ action) {
		if w.putting == nil {
			w.downUntil = time.Now().Add(time.Millisecond)
		}
	}},
	{"make a backup", 3, func(w *world, _ action) { w.takeBackup() }},
	{"restore the backup", 3, func(w *world, _ action) { w.restore() }},
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
		w.jumps++
	}},
	{"the disk is full or not", 2, (*world).fill},
	{"commits fail", 3, func(w *world, a action) { w.disk.failing = 1 + int(a.B)%3 }},
	{"commits are in doubt", 3, func(w *world, a action) { w.disk.doubtful = 1 + int(a.B)%3 }},
	{"the network is bad or good", 3, func(w *world, a action) {
		w.lossy, w.slow = int(a.A)%40, int(a.B)%20
		if a.B%3 == 0 {
			w.lossy, w.slow = 0, 0
		}
		w.say("%d%% of the calls are lost, latencies are %d times as long", w.lossy, 1+w.slow)
	}},
	{"another machine takes a host's name", 2, func(w *world, a action) {
		h := w.pick(a)
		w.say("%s burns down, and another machine takes its name", h.name)
		h.burn()
		w.later(w.between("set up "+h.name, time.Second, 2*time.Minute), h.restart)
	}},
	{"what serves is judged again", 3, (*world).judgeAgain},
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

// sizes are the repositories.
var sizes = [...]string{"zero", "one", "one", "two", "eight", "eight", "secret"}

func (w *world) deploy(a action) {
	size := sizes[int(a.B)%len(sizes)]
	spec := &cv1.ContainerSpec{Repository: repository(size), Tag: "v1", Domain: domain(a.name())}
	if size == "secret" {
		spec.Secrets = []string{"API_KEY"}
	}
	w.submit(w.creates(a.name(), spec))
}

// update asks for another tag. Some tags need other GPUs than the rest.
func (w *world) update(a action) {
	s := w.view.containers[a.key().String()]
	if s == nil || s.container == nil {
		w.deploy(a)
		return
	}
	tag := fmt.Sprintf("v%d", 1+int(a.B)%5)
	if a.B%16 == 15 {
		tag = [...]string{"zero", "one", "two", "eight"}[int(a.A)/3%4]
	}
	w.submit(w.updates(a.name(), tag, w.options(a), a.B%4 == 1))
}

func (w *world) options(a action) *cv1.UpdateOptions {
	return &cv1.UpdateOptions{
		Hold: a.A&4 != 0 && a.A&8 != 0, AllowDowntime: a.A&16 != 0, RestoreOnFailure: a.A&32 != 0, Supersede: a.Pass&12 == 12,
		Strategy: [...]cv1.Strategy{0, 0, cv1.Strategy_STRATEGY_BLUE_GREEN, cv1.Strategy_STRATEGY_REPLACE}[a.A>>6],
	}
}

// inProgress is the update of a container that is committed as being in progress.
func (w *world) inProgress(name string) *model.Update {
	s := w.view.containers[org+"/"+name]
	if s == nil || s.container == nil {
		return nil
	}
	return s.state(w.view).Update
}

// accept names the update that the user has seen.
func (w *world) accept(a action) {
	if u := w.inProgress(a.name()); u != nil {
		w.submit(w.accepts(a.name(), u.ID))
	}
}

// cancel names it too, or says "whatever is in progress".
func (w *world) cancel(a action) {
	if u := w.inProgress(a.name()); u != nil && a.B%2 == 0 {
		w.submit(w.cancels(a.name(), u.ID))
		return
	}
	w.submit(w.cancels(a.name(), ""))
}

// forget gives a host up: one that burnt down, one that is only cut off, or one
// that an operator takes out of service.
func (w *world) forget(a action) {
	h := w.pick(a)
	switch a.B % 4 {
	case 0:
		w.say("%s burns down", h.name)
		h.burn()
	case 1:
		w.submit(w.forgets(h.name, false))
		return
	}
	w.submit(w.forgets(h.name, true))
}

// fill fills the disk, mostly for some minutes: in a run whose disk stays full little
// else can happen. If it is full, somebody frees space.
func (w *world) fill(a action) {
	d := w.disk
	d.full = !d.full
	w.say("the disk is full: %v", d.full)
	d.fillings++
	if n := d.fillings; d.full && a.B%8 != 0 {
		w.later(w.between("full", 10*time.Second, 10*time.Minute), func() {
			if d.full && d.fillings == n {
				d.full = false
				w.say("the disk has room again")
			}
		})
	}
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
