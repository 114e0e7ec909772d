package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

// Agents is what the runner needs of the fleet. Its methods' errors are judged
// by Config.Permanent; all others are worth another try.
type Agents interface {
	Profile(host string) (agentv1.CvmProfile, error)
	Prepare(ctx context.Context, host, id string, spec *agentv1.EnclaveSpec) error
	// Incarnation is that of a host as it is known now: another one says that the host
	// was set up anew. It is empty if the host has not answered yet, or tells none.
	Incarnation(host string) string
	// Create is a call to the host as it is known now: one that was set up anew since
	// refuses it until its incarnation is known.
	Create(ctx context.Context, host, id string, spec *agentv1.EnclaveSpec) error
	Stop(ctx context.Context, host, id string, grace time.Duration, why string) (model.Observation, error)
	Delete(ctx context.Context, host, id string) error
	Observe(host, id string) (model.Observation, bool)
	AwaitFree(ctx context.Context, host, id string, after []string, room model.Room) error
	Promise(model.Reservation)
	Unpromise(model.Reservation)
}

// Gateways is what the runner needs of the gateways.
type Gateways interface {
	AwaitAck(ctx context.Context, domain string, generation int64) error
	Drain(ctx context.Context, enclave string, report func(left int64)) error
}

// Attestor judges an enclave with a nonce of its own and delivers its secrets.
type Attestor interface {
	// Attest returns the verdict with a Failure if the enclave must not serve. An
	// error means that it could not be told, and is worth another try.
	Attest(ctx context.Context, k model.ContainerKey, enclave model.EnclaveRef, revision model.Revision, spec *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error)
}

// Judge judges an enclave with a nonce of its own.
type Judge interface {
	// Judge returns what Attestor.Attest returns, and delivers nothing.
	Judge(ctx context.Context, k model.ContainerKey, enclave model.EnclaveRef, revision model.Revision, spec *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error)
}

// DNS withdraws domains. Present does nothing if the records are there.
type DNS interface {
	Withdraw(ctx context.Context, domain string) error
}

// Replanner finds another host for a candidate whose claim was refused, or any
// for an enclave that died, which then names no host. The runner calls it while
// no other plan is being made.
type Replanner interface {
	// Replan returns an error if it can't be told yet, because hosts have yet to
	// answer; it is asked again then.
	Replan(ctx context.Context, s engine.State, failed model.EnclaveRef) (host string, failure *engine.Failure, err error)
}

// Config describes a runner.
type Config struct {
	Log      *slog.Logger
	Records  *records.Records
	Engine   engine.Engine
	Agents   Agents
	Gateways Gateways
	Attestor Attestor
	// Judge judges enclaves that serve again; nil judges none.
	Judge Judge
	// CloseRefused takes the route from an enclave whose evidence is refused when it
	// is judged again.
	CloseRefused bool
	// Refused is told of containers of which an agent says that it refuses the
	// evidence; it does not block. It may be nil.
	Refused   func(model.ContainerKey)
	DNS       DNS
	Replanner Replanner
	// Permanent returns why an agent's error is final, nil if it is not.
	Permanent func(error) *engine.Failure
	// SecretsKey is the public key that secrets are signed with, 32 bytes.
	SecretsKey []byte
	Now        func() time.Time
	// Backoff makes the times between tries of a call; nil for 0.1 to 5 seconds,
	// with chance in them so that not everybody comes back at once.
	Backoff func() backoff.BackOff
}

// Runner drives the containers. One goroutine at a time works on a container.
type Runner struct {
	cfg  Config
	plan sync.Mutex

	mu     sync.Mutex
	ctx    context.Context
	fatal  context.CancelCauseFunc
	actors map[model.ContainerKey]*actor
	turns  turns
	work   sync.WaitGroup
}

// New returns a runner; Run starts it.
func New(cfg Config) (*Runner, error) {
	if cfg.Log == nil || cfg.Records == nil || cfg.Agents == nil || cfg.Gateways == nil ||
		cfg.Attestor == nil || cfg.DNS == nil || cfg.Replanner == nil || cfg.Permanent == nil || cfg.Now == nil {
		return nil, errors.New("runner: every part of Config is required")
	}
	if cfg.Backoff == nil {
		cfg.Backoff = defaultBackoff
	}
	return &Runner{cfg: cfg, actors: map[model.ContainerKey]*actor{}, turns: turns{hired: make(chan struct{}, keptIdle)}}, nil
}

// ErrStopped says that the runner has ended or not begun.
var ErrStopped = errors.New("the coordinator is stopping: try again")

// Start takes up everything that is unfinished in the store. Work goes on until
// ctx ends; Wait returns after that. The returned context ends with a cause when
// the store is lost to another coordinator.
func (r *Runner) Start(ctx context.Context) (context.Context, error) {
	ctx, r.fatal = context.WithCancelCause(ctx)
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	after := ""
	for {
		items, more, err := records.List(ctx, r.cfg.Records, records.Containers, records.ContainerPrefix, store.ListOptions{After: after, Limit: 500})
		if err != nil {
			return ctx, fmt.Errorf("take up unfinished work: %w", err)
		}
		for _, item := range items {
			if c := item.Value; c.Update != "" || c.Teardown != nil || c.Restart != nil {
				r.post(c.Key(), engine.Resume{})
			}
			after = item.Key
		}
		if !more {
			return ctx, nil
		}
	}
}

// Wait returns when all work has ended, after Start's context has.
func (r *Runner) Wait() { r.work.Wait() }

// Promises loads every reservation into the fleet. It comes before the fleet
// runs, so that no agent's word is heard without them.
func (r *Runner) Promises(ctx context.Context) error {
	items, _, err := records.List(ctx, r.cfg.Records, records.Reservations, records.ReservationPrefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("load reservations: %w", err)
	}
	for _, item := range items {
		r.cfg.Agents.Promise(item.Value)
	}
	return nil
}

// Planning runs f while no other plan is made or carried into the store, so that
// two updates are never given the same room.
func (r *Runner) Planning(f func() error) error {
	r.plan.Lock()
	defer r.plan.Unlock()
	return f()
}

// Decide is asked, with the state as it stands, what to do with a container. It
// may be asked again if the state changes meanwhile.
type Decide func(ctx context.Context, s *records.Loaded) (engine.Event, records.Extra, error)

// Do applies the event that decide chooses, and returns the state after it is
// committed. store.ErrNotFound says that there is no such container; a refusal of
// the engine is an *engine.Refused.
func (r *Runner) Do(ctx context.Context, k model.ContainerKey, decide Decide) (*records.Loaded, error) {
	return r.request(ctx, k, func(ctx context.Context) (*records.Loaded, error) {
		return r.cfg.Records.Load(ctx, k)
	}, decide)
}

// Create is Do for a container that does not exist yet.
func (r *Runner) Create(ctx context.Context, c *model.Container, decide Decide) (*records.Loaded, error) {
	k := c.Key()
	return r.request(ctx, k, func(ctx context.Context) (*records.Loaded, error) {
		if _, err := r.cfg.Records.Load(ctx, k); !errors.Is(err, store.ErrNotFound) {
			if err == nil {
				err = &ExistsError{Key: k}
			}
			return nil, err
		}
		return r.cfg.Records.NewContainer(ctx, c)
	}, decide)
}

// ExistsError says that the name is taken.
type ExistsError struct{ Key model.ContainerKey }

// Error names the container.
func (e *ExistsError) Error() string {
	return fmt.Sprintf("container %s exists already: choose another name, or update it with `casemate container relaunch %s`", e.Key, e.Key.Name)
}

func (r *Runner) request(ctx context.Context, k model.ContainerKey, load loader, decide Decide) (*records.Loaded, error) {
	type answer struct {
		state *records.Loaded
		err   error
	}
	if err := r.failing(k); err != nil {
		return nil, err
	}
	done := make(chan answer, 1)
	ok := r.enqueue(k, func(own context.Context, a *actor) {
		if ctx.Err() != nil {
			done <- answer{nil, ctx.Err()}
			return
		}
		s, err := r.apply(own, k, a, load, decide)
		done <- answer{s, err}
	})
	if !ok {
		return nil, ErrStopped
	}
	r.mu.Lock()
	own := r.ctx
	r.mu.Unlock()
	select {
	case a := <-done:
		return a.state, a.err
	case <-own.Done():
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, fmt.Errorf("the request may still take effect: %w", ctx.Err())
	}
}
