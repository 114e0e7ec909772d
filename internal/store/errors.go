package store

import (
	"errors"
	"fmt"
)

// Sentinels, to be asked for with errors.Is.
var (
	// ErrNotFound says that there is no record of the key.
	ErrNotFound = errors.New("not found")
	// ErrConflict is what every *ConflictError is.
	ErrConflict = errors.New("conflict")
	// ErrCompacted is what every *CompactedError is.
	ErrCompacted = errors.New("history compacted")
	// ErrFutureRevision says that the store has not reached that revision yet.
	ErrFutureRevision = errors.New("revision is ahead of the store: the token is from another store or from before a restore; list again")
	// ErrSlowReader says that a watcher fell behind the history kept for it.
	ErrSlowReader = errors.New("watcher read too slowly and was closed: list again and watch from that revision")
	// ErrClosed says that the store or the watcher has been closed.
	ErrClosed = errors.New("closed")
	// ErrInvalid says that an argument is malformed: a key, a duplicate, a kind.
	ErrInvalid = errors.New("invalid argument")
	// ErrTooLarge says that an argument is over a limit of this package.
	ErrTooLarge = errors.New("too large")
	// ErrFull says that the disk has no room; the store is unharmed and goes on
	// when there is room again.
	ErrFull = errors.New("disk full: free space on the store's file system and try again")
	// ErrIO says that the disk failed. Whether the transaction will be found
	// after the next start can't be told.
	ErrIO = errors.New("disk i/o error: check the disk and the kernel log")
	// ErrOutcomeUnknown says that the caller stopped waiting for a transaction
	// that had begun: it may or may not have been applied.
	ErrOutcomeUnknown = errors.New("transaction outcome unknown: read the records again")
	// ErrLocked says that another process has the store open.
	ErrLocked = errors.New("store is in use by another process")
	// ErrNewerSchema says that a newer program has written the store.
	ErrNewerSchema = errors.New("store was written by a newer version")
	// ErrCorrupt is what every *CorruptError is.
	ErrCorrupt = errors.New("store is damaged")
)

// AnyRevision is ConflictError.Want when any existing record would have done.
const AnyRevision int64 = -1

// ConflictError says which condition of a transaction did not hold.
type ConflictError struct {
	Key string
	// Want is the ModRevision asked for: 0 if the key was not to exist,
	// AnyRevision if it only had to.
	Want int64
	// Have is the key's ModRevision, 0 if it does not exist.
	Have int64
}

// Error names the key, what was wanted of it and what was found.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict on %q: want %s, have %s", e.Key, state(e.Want), state(e.Have))
}

// Is makes every ConflictError an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

func state(revision int64) string {
	switch revision {
	case 0:
		return "no record"
	case AnyRevision:
		return "a record"
	default:
		return fmt.Sprintf("revision %d", revision)
	}
}

// CompactedError says that the history after From is no longer complete.
type CompactedError struct {
	From int64
	// Oldest is the least revision from which a watch can still start.
	Oldest int64
}

// Error says what to do: list again.
func (e *CompactedError) Error() string {
	return fmt.Sprintf("history after revision %d is gone, oldest is %d: list again and watch from that revision", e.From, e.Oldest)
}

// Is makes every CompactedError an ErrCompacted.
func (e *CompactedError) Is(target error) bool { return target == ErrCompacted }

// CorruptError says that the store's file can't be trusted. It is never
// repaired or replaced without being told to.
type CorruptError struct {
	Path string
	// Reason is what was found.
	Reason string
	// Advice is what the operator can do.
	Advice string
}

// Error gives the path, the reason and the advice.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("store %s is damaged: %s; %s", e.Path, e.Reason, e.Advice)
}

// Is makes every CorruptError an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
