package gateway

import (
	"errors"
	"fmt"
)

// Batch is one message of a route source: changes, or all routes it knows.
type Batch struct {
	// ClusterID names the cluster that speaks. Required.
	ClusterID string
	// Epoch is the speaker's term. A batch with a lower epoch than one already
	// seen comes from a coordinator that has been replaced, and is refused whole.
	Epoch int64
	// Complete marks a listing of every route for this gateway. A route that is
	// held here and missing there is kept, served, and marked unconfirmed: only a
	// tombstone deletes.
	Complete bool
	// Routes are to be taken over, each on its own.
	Routes []Route
	// Deleted are the routes to be forgotten.
	Deleted []Tombstone
	// Lost are enclaves whose host was given up for good: connections to them are
	// closed, whatever becomes of Routes, unless a route in force still leads there.
	Lost []string
}

// Tombstone deletes a domain's route. No route of that generation or an older
// one is taken afterwards.
type Tombstone struct {
	Domain     string
	Generation int64
}

// Ack answers a batch, after what it says is on disk and in force.
type Ack struct {
	ClusterID string
	Epoch     int64
	// Applied has, for every domain the batch named and that holds, the generation
	// in force, which may be newer than the one in the batch.
	Applied map[string]int64
	// Refused names what was not taken, and why.
	Refused []Refusal
	// Draining has the enclaves that this batch took out of service, with the
	// connections still open to each. Their number can only fall from here.
	Draining []EnclaveCount
}

// Refusal is one entry of a batch that was not taken.
type Refusal struct {
	Domain string
	// Generation is the refused one, Held the one in force (0 if there is none).
	Generation, Held int64
	Reason           string
}

// Errors of a whole batch. A source that meets one of them must not send the
// batch again.
var (
	// ErrForeignCluster: the batch comes from another cluster than the one this
	// gateway belongs to.
	ErrForeignCluster = errors.New("batch of another cluster")
	// ErrStaleEpoch: a coordinator with a higher epoch has already spoken.
	ErrStaleEpoch = errors.New("batch of an older epoch")
)

// check compares the batch's origin with the one known so far.
func (b Batch) check(clusterID string, epoch int64) error {
	switch {
	case b.ClusterID == "" || len(b.ClusterID) > maxText:
		return fmt.Errorf("%w: it names no usable cluster id", ErrForeignCluster)
	case clusterID != "" && b.ClusterID != clusterID:
		return fmt.Errorf("%w: this gateway belongs to %q, the batch to %q; point the gateway at its own coordinator",
			ErrForeignCluster, clusterID, clip(b.ClusterID))
	case b.Epoch < epoch:
		return fmt.Errorf("%w: seen %d, got %d", ErrStaleEpoch, epoch, b.Epoch)
	}
	return nil
}
