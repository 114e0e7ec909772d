package runner

import (
	"context"
	"errors"
	"sync"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// errRefused is an agent's final no, errLost a call that got no answer.
var (
	errRefused = errors.New("refused")
	errLost    = errors.New("lost")
)

// hosts is a fleet, gateways, an attestor and a DNS that all do as they are
// told after a little while. What is put into faults is returned first.
type hosts struct {
	mu       sync.Mutex
	sink     func(model.ContainerKey, model.Observation)
	key      model.ContainerKey
	enclaves map[string]*model.Observation
	promised map[string]model.Reservation
	acked    int64
	faults   map[string][]error
	calls    map[string]int
	// onCall is told of every call before it is made.
	onCall  func(what string)
	changed chan struct{}
	moved   string
	// incarnation is that of every host.
	incarnation string
	silent      map[string]bool
}

func newHosts(k model.ContainerKey) *hosts {
	return &hosts{
		key: k, enclaves: map[string]*model.Observation{}, promised: map[string]model.Reservation{},
		faults: map[string][]error{}, calls: map[string]int{}, silent: map[string]bool{},
		changed: make(chan struct{}), sink: func(model.ContainerKey, model.Observation) {},
		onCall: func(string) {}, moved: "h2",
	}
}

// called counts a call and returns the fault that is due.
func (h *hosts) called(ctx context.Context, what string) error {
	h.onCall(what)
	h.mu.Lock()
	h.calls[what]++
	mute := h.silent[what]
	var err error
	if f := h.faults[what]; len(f) > 0 {
		err, h.faults[what] = f[0], f[1:]
	}
	h.mu.Unlock()
	if mute {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// Incarnation is the one that was last set.
func (h *hosts) Incarnation(string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.incarnation
}

func (h *hosts) Profile(string) (agentv1.CvmProfile, error) {
	return agentv1.CvmProfile_CVM_PROFILE_NONE, nil
}

func (h *hosts) Prepare(ctx context.Context, _, _ string, _ *agentv1.EnclaveSpec) error {
	return h.called(ctx, "Prepare")
}

func (h *hosts) Create(ctx context.Context, host, id string, _ *agentv1.EnclaveSpec) error {
	if err := h.called(ctx, "Create"); err != nil {
		return err
	}
	h.mu.Lock()
	_, known := h.enclaves[id]
	h.mu.Unlock()
	if !known {
		h.say(model.Observation{Enclave: id, Host: host, State: model.EnclaveBooting, Claimed: true})
		time.AfterFunc(5*time.Second, func() { h.moves(id, model.EnclaveBooting, model.EnclaveAttesting) })
	}
	return nil
}

// moves takes an enclave from one state to the next, if it is still there.
func (h *hosts) moves(id string, from, to model.EnclaveState) {
	h.mu.Lock()
	o, ok := h.enclaves[id]
	h.mu.Unlock()
	if !ok || o.State != from {
		return
	}
	next := *o
	next.State, next.Endpoint = to, o.Host+":443"
	next.Claimed = to != model.EnclaveStopped
	h.say(next)
}

// say changes what a host says of an enclave and tells the runner.
func (h *hosts) say(o model.Observation) {
	h.mu.Lock()
	h.enclaves[o.Enclave] = &o
	close(h.changed)
	h.changed = make(chan struct{})
	sink := h.sink
	h.mu.Unlock()
	sink(h.key, o)
}

func (h *hosts) Stop(ctx context.Context, host, id string, _ time.Duration, _ string) (model.Observation, error) {
	if err := h.called(ctx, "Stop"); err != nil {
		return model.Observation{}, err
	}
	h.mu.Lock()
	o, ok := h.enclaves[id]
	h.mu.Unlock()
	switch {
	case !ok:
		h.say(model.Observation{Enclave: id, Host: host, State: model.EnclaveStopped})
	case !o.Ended():
		next := *o
		next.State = model.EnclaveStopping
		h.say(next)
		time.AfterFunc(2*time.Second, func() { h.moves(id, model.EnclaveStopping, model.EnclaveStopped) })
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return *h.enclaves[id], nil
}

func (h *hosts) Delete(context.Context, string, string) error { return nil }

func (h *hosts) Observe(host, id string) (model.Observation, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o, ok := h.enclaves[id]; ok {
		return *o, true
	}
	return model.Observation{Enclave: id, Host: host, State: model.EnclaveAbsent}, true
}

func (h *hosts) AwaitFree(ctx context.Context, _, _ string, after []string, _ model.Room) error {
	if err := h.called(ctx, "AwaitFree"); err != nil {
		return err
	}
	for {
		h.mu.Lock()
		changed, free := h.changed, true
		for _, id := range after {
			if o, ok := h.enclaves[id]; ok && !o.Gone() {
				free = false
			}
		}
		h.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *hosts) Promise(r model.Reservation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.promised[r.Enclave] = r
}

func (h *hosts) Unpromise(r model.Reservation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.promised[r.Enclave].Host == r.Host {
		delete(h.promised, r.Enclave)
	}
}

func (h *hosts) AwaitAck(ctx context.Context, _ string, generation int64) error {
	if err := h.called(ctx, "AwaitAck"); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked = max(h.acked, generation)
	return nil
}

func (h *hosts) Drain(ctx context.Context, _ string, report func(int64)) error {
	if err := h.called(ctx, "Drain"); err != nil {
		return err
	}
	report(2)
	select {
	case <-time.After(time.Second):
		report(0)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hosts) Attest(ctx context.Context, _ model.ContainerKey, ref model.EnclaveRef, _ model.Revision, _ *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	err := h.called(ctx, "Attest")
	if errors.Is(err, errRefused) {
		return &model.Verdict{}, &engine.Failure{Reason: "EVIDENCE_REJECTED", Text: "wrong measurement"}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	time.AfterFunc(3*time.Second, func() { h.moves(ref.ID, model.EnclaveAttesting, model.EnclaveHealthy) })
	return &model.Verdict{Accepted: true}, nil, nil
}

func (h *hosts) Withdraw(ctx context.Context, _ string) error { return h.called(ctx, "Withdraw") }

func (h *hosts) Replan(ctx context.Context, _ engine.State, _ model.EnclaveRef) (string, *engine.Failure, error) {
	err := h.called(ctx, "Replan")
	if errors.Is(err, errRefused) {
		return "", &engine.Failure{Reason: "NO_CAPACITY", Text: "no host has room"}, nil
	}
	return h.moved, nil, err
}

// running lists the enclaves that hold anything.
func (h *hosts) running() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id, o := range h.enclaves {
		if !o.Gone() {
			ids = append(ids, id)
		}
	}
	return ids
}

func permanent(err error) *engine.Failure {
	if errors.Is(err, errRefused) {
		return &engine.Failure{Reason: "NO_ROOM", Text: "GPUs taken", NoRoom: true}
	}
	return nil
}
