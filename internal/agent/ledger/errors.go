package ledger

import (
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Errors that callers tell apart.
var (
	// ErrRequest says that a request makes no sense in itself.
	ErrRequest = errors.New("the claim is malformed")
	// ErrExists says that the enclave id is taken by another spec.
	ErrExists = errors.New("an enclave of this id with another spec exists")
	// ErrReleasing says that the claim is on its way out.
	ErrReleasing = errors.New("the claim is being released")
	// ErrNotFound says that there is no such claim.
	ErrNotFound = errors.New("no such claim")
	// ErrHeld says that a card has a holder; the error is a *CardError.
	ErrHeld = errors.New("the card is held")
	// ErrQuarantined says that a card is in quarantine; the error is a *CardError.
	ErrQuarantined = errors.New("the card is in quarantine")
	// ErrCapacity says that CPUs or memory do not suffice; the error is a *CapacityError.
	ErrCapacity = errors.New("the host lacks CPUs or memory")
	// ErrNotReconciled says that Reconcile has not been called since Open.
	ErrNotReconciled = errors.New("the ledger has not been compared with what runs on the host yet")
	// ErrInUse says that another process has the ledger open.
	ErrInUse = errors.New("another process has the ledger open; stop the other agent first")
	// ErrClosed says that Close was called.
	ErrClosed = errors.New("the ledger is closed")
	// ErrCorrupt says that the ledger's file can't be believed.
	ErrCorrupt = errors.New("the ledger's file is damaged")
)

// CardError says which card can't be claimed and why. It matches ErrHeld or
// ErrQuarantined.
type CardError struct {
	BDF    gpu.BDF
	Holder string // the enclave that holds it; empty if it is in quarantine
	Why    string // the reason of the quarantine; empty if it is held
}

// Error implements error.
func (e *CardError) Error() string {
	if e.Holder != "" {
		return fmt.Sprintf("card %s is held by enclave %s", e.BDF, e.Holder)
	}
	return fmt.Sprintf("card %s is in quarantine: %s", e.BDF, e.Why)
}

// Is reports whether target is the sentinel for this error.
func (e *CardError) Is(target error) bool {
	return target == ErrHeld && e.Holder != "" || target == ErrQuarantined && e.Holder == ""
}

// CapacityError says what was asked for and what is left. It matches ErrCapacity.
type CapacityError struct {
	Want, Free Capacity
}

// Error implements error.
func (e *CapacityError) Error() string {
	return fmt.Sprintf("%v: %d CPUs and %d MiB wanted, %d CPUs and %d MiB free",
		ErrCapacity, e.Want.CPUs, e.Want.MemoryMiB, e.Free.CPUs, e.Free.MemoryMiB)
}

// Is reports whether target is ErrCapacity.
func (e *CapacityError) Is(target error) bool { return target == ErrCapacity }
