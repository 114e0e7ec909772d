package sim

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/rpc"
)

const (
	gpusPerHost = 8
	cluster     = "cluster-1"
)

// host is a machine and its agent. Enclaves live on when the agent dies; claims
// are kept on its disk.
type host struct {
	w          *world
	name       string
	up, linked bool
	// forgotten: an operator has given the host up at some time; what it runs from
	// before is nobody's until the host is added again.
	forgotten    bool
	epoch        int64
	gpus         [gpusPerHost]card
	cpus         int
	memory       int64
	enclaves     map[string]*enclave
	liar         bool
	refusals     int
	followers    []*session
	stoppingLong bool
	// machine counts those that have had its name.
	machine int
	// uncordoned is when it was last committed that it takes new enclaves.
	uncordoned time.Time
}

type card struct {
	holder string
	sick   bool
}

// enclave is one VM, or what the agent remembers of one.
type enclave struct {
	id, cluster    string
	key            model.ContainerKey
	room           model.Room
	state          model.EnclaveState
	reason         string
	claimed        bool
	gpus           []int
	fate           fate
	asked, foreign bool
	// orphan: it is of the time that was lost when a backup was restored. born is
	// when its host began to boot it.
	orphan bool
	born   time.Time
	// stopped: the agent was told to stop it. ghost: the agent says that it has
	// ended, and it has not.
	stopped, ghost bool
	// lied: its agent has said so at some time.
	lied     bool
	endpoint string
	// listed: it was on the host's list when it was deleted from it.
	version int
}

// fate is what becomes of an enclave that nobody stops.
type fate int

const (
	fine fate = iota
	diesBooting
	wrongEvidence
	neverHealthy
	fateCount
)

func newHost(w *world, name string) *host {
	return &host{w: w, name: name, up: true, linked: true, cpus: 64, memory: 1 << 20, enclaves: map[string]*enclave{}}
}

// reachable says whether calls arrive.
func (h *host) reachable() bool { return h.up && h.linked }

// incarnation is the one that its agent tells.
func (h *host) incarnation() string { return fmt.Sprintf("%s-%d", h.name, h.machine) }

// admit is the agent's fence.
func (h *host) admit(id string, epoch int64, incarnation string) error {
	if id != cluster {
		return rpc.Error(codes.FailedPrecondition, "FOREIGN_CLUSTER", "this agent follows "+cluster)
	}
	if epoch < h.epoch {
		return rpc.Error(codes.FailedPrecondition, "STALE_EPOCH", fmt.Sprintf("epoch %d has been seen", h.epoch))
	}
	h.epoch = epoch
	if incarnation != "" && incarnation != h.incarnation() {
		return rpc.Error(codes.FailedPrecondition, "OTHER_INCARNATION", "this is "+h.incarnation())
	}
	return nil
}

func (e *enclave) ended() bool {
	return e.state == model.EnclaveStopped || e.state == model.EnclaveFailed
}

// runs says whether the VM is there, whatever the agent says.
func (e *enclave) runs() bool { return e.ghost || !e.ended() }

// unproved says whether nobody may believe that its GPUs are free. An agent that
// once said so of a VM that ran has given the proof, true or not.
func (e *enclave) unproved() bool { return e != nil && !e.lied && (!e.ended() || e.claimed) }

func (e *enclave) observation(host, incarnation string) model.Observation {
	return model.Observation{Enclave: e.id, Host: host, Incarnation: incarnation, State: e.state, Reason: e.reason, Endpoint: e.endpoint, Claimed: e.claimed}
}

// free are the GPUs that the agent can give.
func (h *host) free() []int {
	var out []int
	for i, g := range h.gpus {
		if g.holder == "" && !g.sick {
			out = append(out, i)
		}
	}
	return out
}

// create claims and begins to boot.
func (h *host) create(id string, k model.ContainerKey, room model.Room) error {
	w := h.w
	if e := h.enclaves[id]; e != nil {
		if e.ended() && e.stopped {
			return rpc.Error(codes.FailedPrecondition, "STOPPED", "the enclave was stopped")
		}
		return nil
	}
	w.checkCreate(h, id, k)
	free := h.free()
	refused := len(free) < room.GPUs || h.cpus < room.CPUs || h.memory < room.MemoryMiB
	if h.refusals > 0 && !w.calm {
		h.refusals--
		refused = true
	}
	if refused {
		w.refused[id] = true
		w.say("%s refuses the claim of %s", h.name, id)
		return rpc.Error(codes.ResourceExhausted, "NO_CAPACITY", "claimed by others")
	}
	e := &enclave{id: id, cluster: cluster, key: k, room: room, state: model.EnclaveBooting, claimed: true, asked: true, gpus: free[:room.GPUs], born: time.Now()}
	if n := w.roll("fate " + id); n%5 == 0 && !w.calm && !w.tame {
		e.fate = fate(1 + n/5%uint64(fateCount-1))
	}
	if w.destiny != nil {
		e.fate = w.destiny(id)
	}
	h.claim(e)
	w.say("%s boots %s on GPUs %v", h.name, id, e.gpus)
	h.changed(e)
	w.later(w.between("boot "+id, time.Second, 40*time.Second), func() { h.booted(e) })
	return nil
}

func (h *host) claim(e *enclave) {
	for _, i := range e.gpus {
		h.gpus[i].holder = e.id
	}
	h.cpus -= e.room.CPUs
	h.memory -= e.room.MemoryMiB
	h.enclaves[e.id] = e
}

func (h *host) release(e *enclave) {
	if !e.claimed {
		return
	}
	e.claimed = false
	for _, i := range e.gpus {
		h.gpus[i].holder = ""
	}
	h.cpus += e.room.CPUs
	h.memory += e.room.MemoryMiB
}

func (h *host) booted(e *enclave) {
	if e.state != model.EnclaveBooting {
		return
	}
	if e.fate == diesBooting || h.haunted(e) {
		h.dies(e, "IMAGE_BROKEN")
		return
	}
	e.state, e.endpoint = model.EnclaveAttesting, h.name+":443"
	h.changed(e)
}

// haunted says whether another VM, which the agent denies, has its GPUs.
func (h *host) haunted(e *enclave) bool {
	for _, o := range h.enclaves {
		if o.ghost && slices.ContainsFunc(o.gpus, func(g int) bool { return slices.Contains(e.gpus, g) }) {
			return true
		}
	}
	return false
}

// secretsTaken follows the coordinator's verdict: the containers start.
func (h *host) secretsTaken(e *enclave) {
	if e.state != model.EnclaveAttesting {
		return
	}
	e.state = model.EnclaveStarting
	h.changed(e)
	if e.fate != neverHealthy {
		h.w.later(h.w.between("start "+e.id, time.Second, 90*time.Second), func() {
			if e.state == model.EnclaveStarting {
				e.state = model.EnclaveHealthy
				h.changed(e)
			}
		})
	}
}

// dies ends an enclave by itself; its claim is released a little later.
func (h *host) dies(e *enclave, reason string) {
	e.state, e.reason = model.EnclaveFailed, reason
	h.w.say("%s on %s dies: %s", e.id, h.name, reason)
	h.w.cutConnections(e.id)
	h.changed(e)
	h.releaseLater(e)
}

func (h *host) releaseLater(e *enclave) {
	h.w.later(h.w.between("release "+e.id, time.Millisecond, 8*time.Second), func() { h.tidy(e) })
}

// tidy releases what an ended enclave holds; it waits for the agent to be up.
func (h *host) tidy(e *enclave) {
	if !h.up || !e.ended() || e.ghost || !e.claimed {
		return
	}
	h.release(e)
	h.changed(e)
}

// stop takes the order to stop an enclave, known or not.
func (h *host) stop(id string) *enclave {
	w := h.w
	e := h.enclaves[id]
	if e == nil {
		e = &enclave{id: id, cluster: cluster, state: model.EnclaveStopped, stopped: true}
		h.enclaves[id] = e
		h.changed(e)
		return e
	}
	w.checkStop(h, e)
	if e.stopped || e.ended() {
		e.stopped = true
		return e
	}
	e.stopped = true
	if h.liar && !w.calm {
		w.say("%s says that %s has stopped, which runs", h.name, id)
		e.state, e.ghost, e.lied = model.EnclaveStopped, true, true
		h.release(e)
		h.changed(e)
		return e
	}
	e.state = model.EnclaveStopping
	w.say("%s is stopping %s", h.name, id)
	h.changed(e)
	h.powerOff(e)
	return e
}

func (h *host) powerOff(e *enclave) {
	longest := 30 * time.Second
	if h.stoppingLong && !h.w.calm {
		longest = 300 * time.Second
	}
	shortest := 500 * time.Millisecond
	if h.w.slowStop != nil && h.w.slowStop(e.id) {
		shortest, longest = 120*time.Second, 200*time.Second
	}
	h.w.later(h.w.between("stop "+e.id, shortest, longest), func() {
		if e.state != model.EnclaveStopping || !h.up {
			return
		}
		e.state = model.EnclaveStopped
		h.w.cutConnections(e.id)
		h.changed(e)
		h.releaseLater(e)
	})
}

func (h *host) delete(id string) error {
	e := h.enclaves[id]
	if e == nil {
		return nil
	}
	if !e.ended() || e.claimed || e.ghost {
		return rpc.Error(codes.FailedPrecondition, "NOT_ENDED", "it has not ended")
	}
	if e.foreign {
		h.w.violate("I12", "the remains of %s, which is of another cluster, were deleted", id)
	}
	delete(h.enclaves, id)
	h.gone(id)
	return nil
}

// crash kills the agent; the VMs live.
func (h *host) crash() {
	h.up = false
	h.lost()
}

func (h *host) restart() {
	if h.up {
		return
	}
	h.up = true
	for _, e := range h.sorted() {
		switch {
		case e.state == model.EnclaveStopping:
			h.powerOff(e)
		case e.ended() && e.claimed:
			h.releaseLater(e)
		}
	}
	h.w.reconnect(h)
}

// reboot ends every VM of the machine.
func (h *host) reboot() {
	h.crash()
	for _, e := range h.sorted() {
		if e.runs() {
			e.ghost = false
			if !e.ended() {
				e.state, e.reason = model.EnclaveFailed, "HOST_REBOOTED"
			}
			h.w.cutConnections(e.id)
		}
		h.release(e)
	}
}

// burn is the end of the machine and of all that its disk held; another one takes
// its name.
func (h *host) burn() {
	h.reboot()
	h.enclaves, h.epoch = map[string]*enclave{}, 0
	h.machine++
}

// confess makes a lying agent tell the truth.
func (h *host) confess() {
	h.liar = false
	for _, e := range h.sorted() {
		if e.ghost {
			e.ghost, e.stopped, e.state = false, false, model.EnclaveHealthy
			h.changed(e)
		}
	}
}

func (h *host) sorted() []*enclave {
	out := make([]*enclave, 0, len(h.enclaves))
	for _, e := range h.enclaves {
		out = append(out, e)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}
