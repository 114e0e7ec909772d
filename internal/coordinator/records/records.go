package records

import (
	"context"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// Records reads and writes the coordinator's records. Every write is fenced by
// the epoch: once another coordinator has taken the store over, writes fail with
// [ErrFenced].
type Records struct {
	store store.Store
	// ClusterID is the store's identity, Epoch grows with every take-over.
	ClusterID string
	Epoch     int64
	// Restored is 0 unless the store was restored from a backup. Then it is past
	// every epoch and route generation from before: how many there were since the
	// backup is not known, but that they were fewer than 2^20, one a minute for two
	// years.
	Restored int64
	fence    store.Compare
	decoded  decoded
}

// ErrFenced says that another coordinator has taken the store over. The only
// thing to do is to stop.
var ErrFenced = errors.New("another coordinator has taken the store over")

// Item is a record with its place in the store's order.
type Item[T any] struct {
	Key      string
	Revision int64
	Value    T
}

// Store returns the store, for watching.
func (r *Records) Store() store.Store { return r.store }

// Commit applies ops if the compares hold and the epoch is still ours.
func (r *Records) Commit(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	rev, err := r.store.Txn(ctx, append([]store.Compare{r.fence}, compares...), ops)
	var conflict *store.ConflictError
	if errors.As(err, &conflict) && conflict.Key == epochKey {
		return 0, ErrFenced
	}
	return rev, err
}

// Codecs of the records.
var (
	Containers   = record.New[model.Container]("container")
	Updates      = record.New[model.Update]("update")
	Revisions    = record.New[model.Revision]("revision")
	Reservations = record.New[model.Reservation]("reservation")
	Routes       = record.New[model.Route]("route")
	Hosts        = record.New[model.Host]("host")
	Machines     = record.New[model.Machine]("machine")
	Secrets      = record.New[model.Secret]("secret")
	SecretValues = record.New[model.SecretValue]("secretvalue")
	Events       = record.New[model.Event]("event")
	Requests     = record.New[model.Request]("request")
	Gateways     = record.New[model.Gateway]("gateway")
	uids         = record.New[model.ContainerKey]("uid")
	clusters     = record.New[string]("cluster")
	epochs       = record.New[int64]("epoch")
)

// Decode reads a record as it stands in the store.
func Decode[T any](codec record.Codec[T], kv store.KV) (Item[T], error) {
	v, err := codec.Decode(kv.Value)
	if err != nil {
		return Item[T]{}, fmt.Errorf("record %s: %w", kv.Key, err)
	}
	return Item[T]{Key: kv.Key, Revision: kv.ModRevision, Value: v}, nil
}

// Get reads one record; store.ErrNotFound if there is none. What the value refers
// to is shared with other readers, and must not be changed.
func Get[T any](ctx context.Context, r *Records, codec record.Codec[T], key string) (Item[T], error) {
	kv, err := r.store.Get(ctx, key)
	if err != nil {
		return Item[T]{}, fmt.Errorf("read %s: %w", key, err)
	}
	return decodeOnce(r, codec, kv)
}

// List reads a page of records in the order of their keys, and whether more
// follow.
func List[T any](ctx context.Context, r *Records, codec record.Codec[T], prefix string, opts store.ListOptions) ([]Item[T], bool, error) {
	page, err := r.store.List(ctx, prefix, opts)
	if err != nil {
		return nil, false, fmt.Errorf("list %s: %w", prefix, err)
	}
	items := make([]Item[T], 0, len(page.KVs))
	for _, kv := range page.KVs {
		item, err := Decode(codec, kv)
		if err != nil {
			return nil, false, err
		}
		items = append(items, item)
	}
	return items, page.More, nil
}

// Put returns the op that writes a record.
func Put[T any](codec record.Codec[T], key string, v T) (store.Op, error) {
	data, err := codec.Encode(v)
	if err != nil {
		return store.Op{}, fmt.Errorf("encode %s: %w", key, err)
	}
	return store.Put(key, data), nil
}

// ByUID returns the key of the container with this uid.
func (r *Records) ByUID(ctx context.Context, uid string) (model.ContainerKey, error) {
	kv, err := r.store.Get(ctx, uidKey(uid))
	if err != nil {
		return model.ContainerKey{}, fmt.Errorf("read uid %s: %w", uid, err)
	}
	item, err := Decode(uids, kv)
	return item.Value, err
}

// Revision reads one revision of a container.
func (r *Records) Revision(ctx context.Context, k model.ContainerKey, number int64) (model.Revision, error) {
	item, err := Get(ctx, r, Revisions, revisionKey(k, number))
	return item.Value, err
}

// Revisions lists a container's revisions, oldest first. What they refer to is
// shared with other readers, and must not be changed.
func (r *Records) Revisions(ctx context.Context, k model.ContainerKey) ([]Item[model.Revision], error) {
	page, err := r.store.List(ctx, revisionsOf(k), store.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list revisions of %s: %w", k, err)
	}
	items := make([]Item[model.Revision], 0, len(page.KVs))
	for _, kv := range page.KVs {
		item, err := decodeOnce(r, Revisions, kv)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// Update reads an update by its id.
func (r *Records) Update(ctx context.Context, k model.ContainerKey, id string) (Item[model.Update], error) {
	key, ok := updateKeyByID(k, id)
	if !ok {
		return Item[model.Update]{}, fmt.Errorf("update %s of %s: %w", id, k, store.ErrNotFound)
	}
	return Get(ctx, r, Updates, key)
}
