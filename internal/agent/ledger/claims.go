package ledger

import (
	"context"
	"fmt"
	"slices"
)

// Claim records that an enclave holds what the request names, all or nothing.
// A claim of the same enclave id and spec digest is returned as it is; one of
// another spec gives ErrExists, one that is being released ErrReleasing. Cards
// that can't be had give a *CardError, CPUs or memory a *CapacityError.
func (l *Ledger) Claim(ctx context.Context, r Request) (Claim, error) {
	c, err := l.take(ctx)
	if err != nil {
		return Claim{}, fmt.Errorf("claim for enclave %s: %w", r.EnclaveID, err)
	}
	defer l.give(c)
	claim, err := l.claim(c, r)
	if err != nil {
		return Claim{}, fmt.Errorf("claim for enclave %s: %w", r.EnclaveID, err)
	}
	return claim.clone(), nil
}

func (l *Ledger) claim(c *contents, r Request) (Claim, error) {
	if !c.reconciled {
		return Claim{}, ErrNotReconciled
	}
	if old, ok := c.state.claims[r.EnclaveID]; ok {
		switch {
		case old.SpecDigest != r.SpecDigest:
			return Claim{}, ErrExists
		case old.Phase == PhaseReleasing:
			return Claim{}, ErrReleasing
		default:
			return old, nil
		}
	}
	claim, err := l.propose(c, r)
	if err != nil {
		return Claim{}, err
	}
	if err := l.admissible(c.state, claim); err != nil {
		return Claim{}, err
	}
	next := c.state.clone()
	next.claims[claim.EnclaveID] = claim
	return claim, l.commit(c, next)
}

// propose makes the claim that a request asks for.
func (l *Ledger) propose(c *contents, r Request) (Claim, error) {
	gpus, switches := r.GPUs, r.Switches
	if r.Choose != nil {
		var err error
		gpus, switches, err = r.Choose(c.state.held(), c.state.quarantined())
		if err != nil {
			return Claim{}, fmt.Errorf("choose cards: %w", err)
		}
	}
	claim := Claim{
		EnclaveID: r.EnclaveID, SpecDigest: r.SpecDigest, ClusterID: r.ClusterID,
		GPUs: slices.Sorted(slices.Values(gpus)), Switches: slices.Sorted(slices.Values(switches)),
		CPUs: r.CPUs, MemoryMiB: r.MemoryMiB,
		Phase: PhaseClaimed, BootID: l.bootID, Since: l.now().UTC().Round(0),
	}
	return claim, claim.validate()
}

// admissible checks a new claim against what the ledger holds.
func (l *Ledger) admissible(s state, claim Claim) error {
	held := s.held()
	for _, card := range claim.Cards() {
		if holder, ok := held[card]; ok {
			return &CardError{BDF: card, Holder: holder}
		}
		if q, ok := s.quarantine[card]; ok {
			return &CardError{BDF: card, Why: q.Why}
		}
	}
	free := s.free(l.total)
	if claim.CPUs > free.CPUs || claim.MemoryMiB > free.MemoryMiB {
		return &CapacityError{Want: Capacity{claim.CPUs, claim.MemoryMiB}, Free: free}
	}
	if len(s.claims) >= maxClaims {
		return fmt.Errorf("%w: the ledger holds %d claims already", ErrCapacity, maxClaims)
	}
	return nil
}

// Activate records that the claim's enclave was started. It may be called
// again. A claim that is being released gives ErrReleasing, none ErrNotFound.
func (l *Ledger) Activate(ctx context.Context, enclaveID string) error {
	return l.advance(ctx, "activate", enclaveID, PhaseActive)
}

// BeginRelease records that the enclave is being stopped. The claim keeps
// holding its cards. It may be called again; no claim gives ErrNotFound.
func (l *Ledger) BeginRelease(ctx context.Context, enclaveID string) error {
	return l.advance(ctx, "begin release of", enclaveID, PhaseReleasing)
}

// advance brings a claim to a phase; no claim goes back from releasing.
func (l *Ledger) advance(ctx context.Context, verb, id string, phase Phase) error {
	return l.change(ctx, verb+" claim of enclave "+id, func(s state) error {
		claim, ok := s.claims[id]
		switch {
		case !ok:
			return ErrNotFound
		case claim.Phase == PhaseReleasing && phase != PhaseReleasing:
			return ErrReleasing
		}
		claim.Phase = phase
		s.claims[id] = claim
		return nil
	})
}

// Release forgets a claim and frees what it held. The caller must have proof
// that the enclave is gone: its process reaped and its devices closed. That
// stop was asked for is no proof. No claim gives ErrNotFound.
func (l *Ledger) Release(ctx context.Context, enclaveID string) error {
	return l.change(ctx, "release claim of enclave "+enclaveID, func(s state) error {
		if _, ok := s.claims[enclaveID]; !ok {
			return ErrNotFound
		}
		delete(s.claims, enclaveID)
		return nil
	})
}

// change takes a turn, lets edit work on a copy of the state, and commits it.
func (l *Ledger) change(ctx context.Context, what string, edit func(state) error) error {
	c, err := l.take(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer l.give(c)
	next := c.state.clone()
	if err := edit(next); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := l.commit(c, next); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
