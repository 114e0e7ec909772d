package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/internal/agent/records"
	"github.com/casemate-dev/casemate/internal/fence"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Agent is one host's agent. Make it with New, run it with Run, and serve it
// with Register.
type Agent struct {
	cfg Config
	// incarnation names the state folder.
	incarnation string

	fence      *fence.Guard
	ledger     *ledger.Ledger
	records    *records.Store
	metrics    *metrics
	board      *board
	host       *hostBoard
	conditions *conditionSet
	prepares   *prepares
	buckets    *buckets
	// reattesting has a place for each enclave that is asked for evidence again.
	reattesting chan struct{}
	seen        atomic.Pointer[gpu.Snapshot] // nil before the first look; never changed, only replaced

	// restart is what New found on disk, for the adoption to take up.
	restart []records.Record
	// adopted is closed once what runs here is known, looked once the GPUs were looked
	// at for the first time, even in vain.
	adopted, looked chan struct{}
	// changed and rescan hold a token while the host's facts, or its GPUs, are to
	// be looked at.
	changed, rescan chan struct{}

	// stopped is closed once Run's context has ended.
	stopped chan struct{}

	// life holds a token while nobody creates, stops or deletes an enclave: these
	// happen one at a time.
	life chan struct{}

	mu       sync.Mutex // guards all below
	running  context.Context
	monitors map[string]*monitor
	ended    sync.WaitGroup // of monitors
}

// Names within the state folder.
const (
	fenceFile   = "fence.json"
	runFile     = "run.json"
	ledgerDir   = "ledger"
	enclavesDir = "enclaves"
)

// New opens what the agent keeps on disk. It touches no enclave. Close releases
// it.
func New(cfg Config) (_ *Agent, err error) {
	cfg, err = cfg.checked()
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, conditions: newConditionSet(cfg.Now), prepares: newPrepares(),
		adopted: make(chan struct{}), looked: make(chan struct{}), changed: make(chan struct{}, 1), rescan: make(chan struct{}, 1),
		life: make(chan struct{}, 1), monitors: map[string]*monitor{},
		buckets: &buckets{now: cfg.Now, all: map[string]*bucket{}}, stopped: make(chan struct{}),
		reattesting: make(chan struct{}, maxReattesting),
	}
	a.metrics = newMetrics(a)
	a.ledger, err = ledger.Open(filepath.Join(cfg.StateDir, ledgerDir), ledger.Config{
		BootID: cfg.BootID, Capacity: cfg.Capacity, Reserved: cfg.Reserved, Now: cfg.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("open agent: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.ledger.Close())
		}
	}()
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("open agent: %w", err)
	}
	return a, nil
}

// open reads the state folder, which the ledger's lock has made ours.
func (a *Agent) open() error {
	store, all, damaged, err := records.Open(filepath.Join(a.cfg.StateDir, enclavesDir), a.cfg.Disk)
	if err != nil {
		return err
	}
	a.records, a.restart = store, all
	a.reportDamaged(damaged)
	guard, err := fence.Open(fence.Config{Path: filepath.Join(a.cfg.StateDir, fenceFile), Pinned: a.cfg.ClusterID})
	if guard == nil {
		return err
	}
	a.fence = guard
	if err != nil {
		a.reportFenceLost(err)
	}
	// What was recorded says whose host this is where the fence's file doesn't.
	for _, r := range all {
		if err := guard.Follow(r.ClusterID); err != nil {
			a.cfg.Log.Warn("a record names no usable cluster", "enclave", r.ID, "error", err)
		}
	}
	first, id, err := beginRun(filepath.Join(a.cfg.StateDir, runFile), a.cfg.Now())
	if err != nil {
		return err
	}
	a.incarnation = id
	a.board = newBoard(first)
	a.reportStanding()
	a.host = newHostBoard(a.facts(context.Background()))
	a.life <- struct{}{}
	return nil
}

// Run works until ctx ends. Enclaves go on running then.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	a.mu.Lock()
	a.running = ctx
	a.mu.Unlock()
	g.Go(func() error {
		<-ctx.Done()
		close(a.stopped)
		return ctx.Err()
	})
	g.Go(func() error { return a.adopt(ctx) })
	g.Go(func() error { return a.scan(ctx) })
	g.Go(func() error { return a.tell(ctx) })
	g.Go(func() error { return a.followBackend(ctx) })
	g.Go(func() error { return a.followXids(ctx) })
	err := g.Wait()
	a.ended.Wait()
	a.prepares.wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Close releases the state folder, after Run has returned.
func (a *Agent) Close() error {
	if err := a.ledger.Close(); err != nil {
		return fmt.Errorf("close agent: %w", err)
	}
	return nil
}

// Adopted is closed once the agent knows what its host has and what runs there, has
// told it, and takes calls.
func (a *Agent) Adopted() <-chan struct{} { return a.adopted }

func (a *Agent) isAdopted() bool {
	select {
	case <-a.adopted:
		return true
	default:
		return false
	}
}

// turn waits for the right to create, stop or delete; the returned function ends
// it.
func (a *Agent) turn(ctx context.Context) (func(), error) {
	if !a.isAdopted() {
		return nil, starting()
	}
	select {
	case <-a.life:
		return func() { a.life <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another change to enclaves to end: %w", ctx.Err())
	}
}

// stopping is closed once the agent stops: watches end then.
func (a *Agent) stopping() <-chan struct{} { return a.stopped }

// wake puts a token into a channel of one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
