package records

import (
	"context"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// Open takes the store over: it gives a new store its cluster id, made by newID,
// and raises the epoch, so that agents, gateways and the store itself refuse
// what a coordinator before us still sends.
func Open(ctx context.Context, s store.Store, newID func() string) (*Records, error) {
	for {
		r, err := takeOver(ctx, s, newID)
		var conflict *store.ConflictError
		if errors.As(err, &conflict) {
			continue
		}
		return r, err
	}
}

func takeOver(ctx context.Context, s store.Store, newID func() string) (*Records, error) {
	r := &Records{store: s}
	id, idRev, err := readMeta(ctx, s, clusters, clusterKey)
	if err != nil {
		return nil, err
	}
	epoch, epochRev, err := readMeta(ctx, s, epochs, epochKey)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = newID()
	}
	revision, err := s.Revision(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the store's revision: %w", err)
	}
	r.Restored = revision / store.RestoreLeap << 20
	epoch = max(epoch, r.Restored)
	r.ClusterID, r.Epoch = id, epoch+1
	idOp, err := Put(clusters, clusterKey, id)
	if err != nil {
		return nil, err
	}
	epochOp, err := Put(epochs, epochKey, r.Epoch)
	if err != nil {
		return nil, err
	}
	rev, err := s.Txn(ctx,
		[]store.Compare{store.ModRevision(clusterKey, idRev), store.ModRevision(epochKey, epochRev)},
		[]store.Op{idOp, epochOp})
	if err != nil {
		return nil, fmt.Errorf("take the store over: %w", err)
	}
	r.fence = store.ModRevision(epochKey, rev)
	return r, nil
}

func readMeta[T any](ctx context.Context, s store.Store, codec record.Codec[T], key string) (T, int64, error) {
	var zero T
	kv, err := s.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return zero, 0, nil
	}
	if err != nil {
		return zero, 0, fmt.Errorf("read %s: %w", key, err)
	}
	v, err := codec.Decode(kv.Value)
	if err != nil {
		return zero, 0, fmt.Errorf("record %s: %w", key, err)
	}
	return v, kv.ModRevision, nil
}
