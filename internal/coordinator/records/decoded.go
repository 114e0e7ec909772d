package records

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// Bounds of a generation: enough for what 500 updates in progress read again and
// again, and for what large config files may make of it. Twice as many values, and
// twice as many bytes of records, are kept at most.
const (
	decodedPerGeneration = 2048
	decodedBytes         = 32 << 20
)

// decoded keeps values that were read, by key and revision: a record is decoded
// once, however often its container's turn comes before it changes. Values that
// are not read while as many others are go with their generation.
type decoded struct {
	mu         sync.Mutex
	young, old map[string]decodedValue
	// bytes are those of the records that the young were decoded from.
	bytes int
}

type decodedValue struct {
	revision int64
	value    any
	bytes    int
}

func (d *decoded) get(key string, revision int64) (any, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.young[key]
	if !ok {
		if v, ok = d.old[key]; ok && v.revision == revision {
			d.keep(key, v)
		}
	}
	return v.value, ok && v.revision == revision
}

func (d *decoded) put(key string, v decodedValue) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keep(key, v)
}

// keep adds a value to the young; mu is held.
func (d *decoded) keep(key string, v decodedValue) {
	if d.young == nil || len(d.young) >= decodedPerGeneration || d.bytes+v.bytes > decodedBytes {
		d.old, d.young, d.bytes = d.young, make(map[string]decodedValue), 0
	}
	d.bytes += v.bytes - d.young[key].bytes
	d.young[key] = v
}

// DecodeShared is Decode for records that many read at once, such as all who watch
// the same change. What the value refers to is shared with other readers, and must
// not be changed.
func DecodeShared[T any](r *Records, codec record.Codec[T], kv store.KV) (Item[T], error) {
	return decodeOnce(r, codec, kv)
}

// decodeOnce is Decode for records that are read often. What the value refers to
// is shared with other readers, and must not be changed.
func decodeOnce[T any](r *Records, codec record.Codec[T], kv store.KV) (Item[T], error) {
	if v, ok := r.decoded.get(kv.Key, kv.ModRevision); ok {
		if value, ok := v.(T); ok {
			return Item[T]{Key: kv.Key, Revision: kv.ModRevision, Value: value}, nil
		}
	}
	item, err := Decode(codec, kv)
	if err == nil {
		r.decoded.put(kv.Key, decodedValue{kv.ModRevision, item.Value, len(kv.Value)})
	}
	return item, err
}

// CheckShared says whether a reader has changed what it shares with others: the
// values that are kept must be those of the store. It is for tests.
func (r *Records) CheckShared(ctx context.Context) error {
	r.decoded.mu.Lock()
	defer r.decoded.mu.Unlock()
	for _, values := range []map[string]decodedValue{r.decoded.young, r.decoded.old} {
		for key, v := range values {
			kv, err := r.store.Get(ctx, key)
			if err != nil || kv.ModRevision != v.revision {
				continue
			}
			var stored struct {
				Data json.RawMessage `json:"data"`
			}
			kept, kerr := json.Marshal(v.value)
			if err := errors.Join(kerr, json.Unmarshal(kv.Value, &stored)); err != nil {
				return fmt.Errorf("record %s: %w", key, err)
			}
			if !bytes.Equal(kept, stored.Data) {
				return fmt.Errorf("record %s was changed by a reader: it is now %s, in the store %s", key, kept, stored.Data)
			}
		}
	}
	return nil
}
