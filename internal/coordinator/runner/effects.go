package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
)

// carryOut does one effect and posts what comes of it. An effect whose context
// ends says nothing: the step it belongs to is over.
func (r *Runner) carryOut(ctx context.Context, k model.ContainerKey, s engine.State, e engine.Effect) {
	var ev engine.Event
	switch e := e.(type) {
	case engine.Prepare:
		ev = engine.Prepared{Enclave: e.Enclave.ID, Failure: r.onAgent(ctx, k, s, e.Enclave, r.cfg.Agents.Prepare)}
	case engine.Create:
		ev = engine.Created{Enclave: e.Enclave.ID, Failure: r.onAgent(ctx, k, s, e.Enclave, r.cfg.Agents.Create)}
	case engine.Verify:
		ev = r.attest(ctx, k, s, e.Enclave)
	case engine.Observe:
		r.observe(k, e.Enclave)
	case engine.Halt:
		ev = r.halt(ctx, e)
	case engine.Replan:
		r.place(ctx, k, s, e.Failed, func(host string, f *engine.Failure) engine.Event {
			return engine.Replanned{Failed: e.Failed.ID, Host: host, Failure: f}
		})
	case engine.Place:
		r.place(ctx, k, s, e.Enclave, func(host string, f *engine.Failure) engine.Event {
			return engine.Placed{Host: host, Failure: f}
		})
	default:
		ev = r.await(ctx, k, e)
	}
	if ev != nil && ctx.Err() == nil {
		r.post(k, ev)
	}
}

// await does the effects that only wait.
func (r *Runner) await(ctx context.Context, k model.ContainerKey, e engine.Effect) engine.Event {
	switch e := e.(type) {
	case engine.AwaitFree:
		var after []string
		for _, ref := range e.After {
			after = append(after, ref.ID)
		}
		if err := r.cfg.Agents.AwaitFree(ctx, e.Enclave.Host, e.Enclave.ID, after, e.Enclave.Room); err == nil {
			return engine.Freed{Enclave: e.Enclave.ID}
		}
	case engine.AwaitAck:
		if err := r.cfg.Gateways.AwaitAck(ctx, e.Domain, e.Generation); err == nil {
			return engine.Acknowledged{Domain: e.Domain, Generation: e.Generation}
		}
	case engine.AwaitDrain:
		report := func(left int64) {
			if ctx.Err() == nil {
				r.post(k, engine.Drained{Enclave: e.Enclave, Left: left})
			}
		}
		if err := r.cfg.Gateways.Drain(ctx, e.Enclave, report); err != nil && ctx.Err() == nil {
			r.cfg.Log.Error("drain ended early", "enclave", e.Enclave, "error", err)
		}
	case engine.WithdrawDNS:
		if err := r.retry(ctx, "withdraw DNS", func() error { return r.cfg.DNS.Withdraw(ctx, e.Domain) }); err == nil {
			return engine.Withdrawn{Domain: e.Domain}
		}
	}
	return nil
}

// retry calls f until it succeeds, fails for good, or ctx ends.
func (r *Runner) retry(ctx context.Context, what string, f func() error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, f() },
		backoff.WithBackOff(r.cfg.Backoff()), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, next time.Duration) {
			r.cfg.Log.Warn("trying again", "what", what, "error", err, "in", next.String())
		}))
	return err
}

func defaultBackoff() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 100*time.Millisecond, 5*time.Second
	return b
}

// onAgent calls an agent with the enclave's spec until it answers.
func (r *Runner) onAgent(ctx context.Context, k model.ContainerKey, s engine.State, ref model.EnclaveRef,
	call func(ctx context.Context, host, id string, spec *agentv1.EnclaveSpec) error,
) *engine.Failure {
	var failure *engine.Failure
	err := r.retry(ctx, "enclave "+ref.ID, func() error {
		spec, _, err := r.spec(ctx, k, s, ref)
		if err != nil {
			return err
		}
		if err := call(ctx, ref.Host, ref.ID, spec); err != nil {
			if failure = r.cfg.Permanent(err); failure != nil {
				return backoff.Permanent(err)
			}
			return err
		}
		return nil
	})
	if err != nil && failure == nil && ctx.Err() == nil {
		failure = &engine.Failure{Reason: "INTERNAL", Text: err.Error()}
	}
	return failure
}

func (r *Runner) attest(ctx context.Context, k model.ContainerKey, s engine.State, ref model.EnclaveRef) engine.Event {
	out := engine.Verified{Enclave: ref.ID}
	err := r.retry(ctx, "attest "+ref.ID, func() error {
		o, known := r.cfg.Agents.Observe(ref.Host, ref.ID)
		if !known || o.Endpoint == "" {
			return fmt.Errorf("host %s has not told the endpoint of %s yet", ref.Host, ref.ID)
		}
		at := ref
		at.Endpoint = o.Endpoint
		spec, revision, err := r.spec(ctx, k, s, ref)
		if err != nil {
			return err
		}
		out.Verdict, out.Failure, err = r.cfg.Attestor.Attest(ctx, k, at, revision, spec)
		return err
	})
	if err != nil {
		return nil
	}
	return out
}

func (r *Runner) halt(ctx context.Context, e engine.Halt) engine.Event {
	var o model.Observation
	err := r.retry(ctx, "stop "+e.Enclave.ID, func() error {
		var err error
		o, err = r.cfg.Agents.Stop(ctx, e.Enclave.Host, e.Enclave.ID, e.Grace, e.Why)
		return err
	})
	if err != nil {
		return nil
	}
	return engine.Observed{Observation: o}
}

// place asks the planner for a host, again and again while it can't tell, and
// commits the answer before any other plan is made.
func (r *Runner) place(ctx context.Context, k model.ContainerKey, s engine.State, ref model.EnclaveRef, answer func(string, *engine.Failure) engine.Event) {
	ask := func() error {
		host, failure, err := r.cfg.Replanner.Replan(ctx, s, ref)
		if err != nil {
			return err
		}
		_, err = r.Do(ctx, k, func(context.Context, *records.Loaded) (engine.Event, records.Extra, error) {
			return answer(host, failure), records.Extra{}, nil
		})
		if err != nil {
			return backoff.Permanent(err)
		}
		return nil
	}
	err := r.retry(ctx, "place "+k.String(), func() error { return r.Planning(ask) })
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
		r.cfg.Log.Error("plan again", "container", k.String(), "error", err)
	}
}

func eventName(ev engine.Event) string { return fmt.Sprintf("%T", ev) }
