// Package store is the coordinator's record of everything that is wanted and
// known: a small, etcd-shaped interface over keys, values and one global
// revision.
//
// The revision grows by exactly one with every transaction that has operations.
// It is at once the order of all changes, the etag of a record
// (KV.ModRevision), and the token from which a watch is resumed.
//
// Two implementations stand beneath: sqlite, the embedded default, and memory,
// for tests and simulation. Both pass the suite in storetest.
package store

import "context"

// KV is one record and its history in three numbers.
//
// Value is shared with the store and with other readers: it must not be
// modified.
type KV struct {
	Key   string
	Value []byte
	// CreateRevision is the revision at which the key last came into being.
	CreateRevision int64
	// ModRevision is the revision of the last put; it serves as the etag.
	ModRevision int64
	// Version counts the puts since CreateRevision, from 1.
	Version int64
}

// ListOptions cuts a listing into pages.
type ListOptions struct {
	// After lists only keys greater than it: the last key of the page before.
	// It need not exist, nor have the prefix.
	After string
	// Limit is the greatest number of records returned; 0 is all of them.
	Limit int
}

// ListResult is one page: a consistent snapshot of the store at Revision.
type ListResult struct {
	KVs []KV
	// Revision is the store's revision that the page reflects.
	Revision int64
	// More says that records follow the last of KVs.
	More bool
}

// EventType says what happened to a key.
type EventType uint8

// The zero EventType is none, so that a forgotten one is seen.
const (
	EventPut EventType = iota + 1
	EventDelete
)

// String returns "put" or "delete".
func (t EventType) String() string {
	switch t {
	case EventPut:
		return "put"
	case EventDelete:
		return "delete"
	default:
		return "none"
	}
}

// Event is one change. For EventDelete only KV.Key and KV.ModRevision are set,
// the latter to the revision of the deletion.
type Event struct {
	Type EventType
	KV   KV
}

// Batch is what one transaction changed under a watched prefix. A Batch without
// events is a bookmark: every change up to Revision has been delivered.
//
// Events is shared with other watchers: it must not be modified.
type Batch struct {
	Revision int64
	Events   []Event
}

// Watcher is a cursor over the changes under one prefix. It is used by one
// goroutine at a time, except for Close, which may be called from any.
type Watcher interface {
	// Next returns the next batch, and waits for it until ctx ends. Batches come
	// in the order of revisions, none is left out, and the events of one
	// transaction are never split. A bookmark is delivered once when the watcher
	// has first caught up with the store, and again whenever many revisions have
	// passed without a change under the prefix; its Revision, like that of any
	// batch, is a token to watch from.
	//
	// When ctx ends the error is its own and the watcher stays usable. All other
	// errors are final: ErrSlowReader when the reader fell behind the history
	// that the store keeps, ErrClosed after Close of the watcher or the store.
	Next(ctx context.Context) (Batch, error)
	// Close ends the watcher and wakes a waiting Next. It is idempotent.
	Close()
}

// Store is an ordered map from keys to values with atomic transactions and
// history. It is safe for concurrent use, and linearizable: what a finished
// call has seen or done, every later call sees.
//
// Every method returns ErrClosed after Close, the error of ctx when that has
// ended, and ErrTooLarge or ErrInvalid, having done nothing, for arguments
// outside the limits of this package.
type Store interface {
	// Get returns the record of key, or ErrNotFound.
	Get(ctx context.Context, key string) (KV, error)

	// List returns the records whose keys start with prefix (an empty prefix is
	// every record), in the byte order of keys. One page is a snapshot; pages
	// fetched one after the other are not one snapshot together. A reader that
	// needs all of it consistent lists without a limit, or watches from the
	// Revision of the first page: once that watch has passed the Revision of the
	// last page, the two together are exact.
	List(ctx context.Context, prefix string, opts ListOptions) (ListResult, error)

	// Txn applies ops if all compares hold, atomically, at one new revision,
	// which it returns; the change is durable by then. If a compare does not
	// hold nothing is changed and the error is a *ConflictError that names the
	// first one, in the order given. Without ops nothing is written and the
	// revision returned is the one at which the compares held.
	//
	// No key may occur in two ops. Deleting a key that does not exist is not an
	// error and yields no event. Values are copied.
	//
	// ErrFull and ErrIO mean that nothing was applied, or, for ErrIO, that it
	// can't be told. When ctx ends while the transaction waits its turn it is
	// dropped, and the error is that of ctx; when it ends later the error is
	// also ErrOutcomeUnknown.
	Txn(ctx context.Context, compares []Compare, ops []Op) (revision int64, err error)

	// Watch delivers every change to keys under prefix after the revision from;
	// 0 is the beginning. ErrCompacted (a *CompactedError) says that history so
	// old is gone: list again, and watch from there. ErrFutureRevision says that
	// the store has not reached from, so that the token comes from another store
	// or from before the restoring of a backup: list again.
	Watch(ctx context.Context, prefix string, from int64) (Watcher, error)

	// Revision returns the revision of the last transaction, 0 in a new store.
	Revision(ctx context.Context) (int64, error)

	// Close ends all watchers, waits for transactions in progress, and releases
	// what the store holds. It is idempotent.
	Close() error
}
