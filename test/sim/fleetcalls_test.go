package sim

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	realfleet "github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// call makes a call to an agent over the network: it may be lost, its answer may
// be, and it may arrive twice.
func (f *fleet) call(ctx context.Context, what, name, id string, apply func(h *host) error) error {
	w := f.w
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	w.mu.Lock()
	if f.sessions[name] == nil {
		w.mu.Unlock()
		return fmt.Errorf("host %s: %w", name, realfleet.ErrUnknownHost)
	}
	// A guest is no agent: it has no fence.
	incarnation := ""
	if what != "attest" {
		incarnation = f.sessions[name].machine.Incarnation
	}
	w.doom(f, "call "+what)
	there, back := w.latency(what+id), w.latency(what+id)
	mishap := -1
	if w.lossy > 0 && !w.calm {
		if n := int(w.roll("mishap "+what+id) % 100); n < w.lossy {
			mishap = n % 4
		}
	}
	switch {
	case what != "create" || w.calm:
	case w.late:
		mishap = 3
	case w.deaf:
		mishap = 2
	}
	w.mu.Unlock()
	if !sleep(ctx, there) {
		return errLost
	}
	w.mu.Lock()
	h := w.host(name)
	if mishap == 3 {
		w.later(w.between("late "+id, time.Minute, 100*time.Second), func() { f.arrive(what, id, h, incarnation, apply) })
		mishap = 0
	}
	if !h.reachable() || mishap == 0 {
		w.mu.Unlock()
		<-ctx.Done()
		return errLost
	}
	w.stats.steps++
	w.silenceBroken(name)
	err := h.admit(f.cluster, f.epoch, incarnation)
	if err == nil {
		err = apply(h)
	}
	if mishap == 1 {
		w.later(w.between("again "+id, time.Second, 200*time.Second), func() { f.arrive(what, id, h, incarnation, apply) })
	}
	w.doom(f, "answer "+what)
	w.mu.Unlock()
	if mishap == 2 {
		<-ctx.Done()
		return errLost
	}
	if !sleep(ctx, back) {
		return errLost
	}
	return err
}

// arrive carries out a call that comes late, or once more; nobody waits for the
// answer.
func (f *fleet) arrive(what, id string, h *host, incarnation string, apply func(h *host) error) {
	if h.reachable() && h.admit(f.cluster, f.epoch, incarnation) == nil {
		f.w.say("%s of %s arrives at %s late", what, id, h.name)
		_ = apply(h)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Incarnation is that of a host as it was told last.
func (f *fleet) Incarnation(name string) string {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if s := f.sessions[name]; s != nil {
		return s.machine.Incarnation
	}
	return ""
}

// Profile is known once the host has answered.
func (f *fleet) Profile(name string) (agentv1.CvmProfile, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if s := f.sessions[name]; s == nil || !s.heard {
		return 0, fmt.Errorf("host %s has not answered yet", name)
	}
	return agentv1.CvmProfile_CVM_PROFILE_NONE, nil
}

func (f *fleet) Prepare(ctx context.Context, name, id string, _ *agentv1.EnclaveSpec) error {
	return f.call(ctx, "prepare", name, id, func(h *host) error {
		if !f.w.calm && !f.w.tame && f.w.roll("unpreparable "+id)%40 == 0 {
			return rpc.Error(codes.NotFound, "IMAGE_MISSING", "there is no such image")
		}
		return nil
	})
}

func (f *fleet) Create(ctx context.Context, name, id string, spec *agentv1.EnclaveSpec) error {
	k := model.ContainerKey{Org: spec.GetOrg(), Name: spec.GetContainer()}
	room := model.Room{GPUs: int(spec.GetGpus()), CPUs: int(spec.GetCpus()), MemoryMiB: int64(spec.GetMemoryMib())}
	return f.call(ctx, "create", name, id, func(h *host) error { return h.create(id, k, room) })
}

func (f *fleet) Stop(ctx context.Context, name, id string, _ time.Duration, _ string) (model.Observation, error) {
	o := answer[model.Observation]{w: f.w}
	err := f.call(ctx, "stop", name, id, func(h *host) error {
		f.orphanStopped(h, id)
		o.give(h.stop(id).observation(name, h.incarnation()))
		return nil
	})
	return o.take(), err
}

// answer is what a call gives to whoever waits for it; what arrives late, or once
// more, gives it to nobody.
type answer[T any] struct {
	w     *world
	taken bool
	value T
}

// give is called with the world's lock.
func (a *answer[T]) give(v T) {
	if !a.taken {
		a.value = v
	}
}

func (a *answer[T]) take() T {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.taken = true
	return a.value
}

func (f *fleet) Delete(ctx context.Context, name, id string) error {
	return f.call(ctx, "delete", name, id, func(h *host) error { return h.delete(id) })
}

// Attest judges an enclave by its own evidence and delivers the secrets.
func (f *fleet) Attest(ctx context.Context, _ model.ContainerKey, ref model.EnclaveRef, _ model.Revision, _ *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	return f.judge(ctx, ref, func(h *host, e *enclave) {
		f.w.judged[ref.ID] = true
		h.secretsTaken(e)
	})
}

// Judge judges one that serves again.
func (f *fleet) Judge(ctx context.Context, _ model.ContainerKey, ref model.EnclaveRef, _ model.Revision, _ *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	return f.judge(ctx, ref, func(*host, *enclave) {})
}

func (f *fleet) judge(ctx context.Context, ref model.EnclaveRef, accepted func(*host, *enclave)) (*model.Verdict, *engine.Failure, error) {
	wrong := answer[bool]{w: f.w}
	err := f.call(ctx, "attest", ref.Host, ref.ID, func(h *host) error {
		e := h.enclaves[ref.ID]
		if e == nil || !e.observation(h.name, "").Guest() {
			return errLost
		}
		if e.fate == wrongEvidence {
			wrong.give(true)
			return nil
		}
		accepted(h, e)
		return nil
	})
	refused := wrong.take()
	switch {
	case err != nil:
		return nil, nil, err
	case refused:
		return &model.Verdict{}, &engine.Failure{Reason: "EVIDENCE_REJECTED", Text: "wrong measurement"}, nil
	}
	return &model.Verdict{Accepted: true}, nil, nil
}

// Withdraw takes a domain out of DNS.
func (f *fleet) Withdraw(ctx context.Context, domain string) error {
	f.w.mu.Lock()
	f.w.doom(f, "call withdraw")
	d := f.w.latency("dns " + domain)
	f.w.mu.Unlock()
	if !sleep(ctx, d) {
		return errLost
	}
	return nil
}
