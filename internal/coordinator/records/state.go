package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// How much of the past a container keeps.
const (
	keptUpdates   = 50
	keptRevisions = 50
	keptEvents    = 200
)

// Loaded is a container's state as it stands in the store.
type Loaded struct {
	engine.State
	// ContainerRevision and UpdateRevision are the records' etags.
	ContainerRevision int64
	UpdateRevision    int64
	was               map[string]stored
}

// stored is a record as it was read or is to be written; value is what it says.
type stored struct {
	revision int64
	data     []byte
	value    any
}

// Load reads the state of a container; store.ErrNotFound if there is none. The
// container, the update and the route are the caller's own; what they refer to is
// shared with other readers, and must not be changed.
func (r *Records) Load(ctx context.Context, k model.ContainerKey) (*Loaded, error) {
	l := &Loaded{was: map[string]stored{}}
	c, err := load(ctx, r, l, Containers, ContainerKey(k))
	if err != nil {
		return nil, err
	}
	l.Container, l.ContainerRevision = c, l.was[ContainerKey(k)].revision
	if c.Update != "" {
		if err := r.loadUpdate(ctx, l, k, c.Update); err != nil {
			return nil, err
		}
	}
	if l.Route, err = load(ctx, r, l, Routes, RouteKey(c.Spec.Domain)); err != nil {
		return nil, missing(k, err)
	}
	return l, r.loadReservations(ctx, l, k)
}

// missing keeps a part of a container that is not found from looking like a
// container that is not found.
func missing(k model.ContainerKey, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		//nolint:errorlint // wrapped, it would look like a container that is not found
		return fmt.Errorf("container %s is incomplete: %v", k, err)
	}
	return err
}

func (r *Records) loadUpdate(ctx context.Context, l *Loaded, k model.ContainerKey, id string) error {
	key, ok := updateKeyByID(k, id)
	if !ok {
		return fmt.Errorf("container %s names update %q, which is no id of its own", k, id)
	}
	u, err := load(ctx, r, l, Updates, key)
	if err != nil {
		return missing(k, err)
	}
	l.Update, l.UpdateRevision = u, l.was[key].revision
	return nil
}

func (r *Records) loadReservations(ctx context.Context, l *Loaded, k model.ContainerKey) error {
	page, err := r.store.List(ctx, reservationsOf(k), store.ListOptions{})
	if err != nil {
		return fmt.Errorf("list reservations of %s: %w", k, err)
	}
	l.Reservations = map[string]model.Reservation{}
	for _, kv := range page.KVs {
		item, err := decodeOnce(r, Reservations, kv)
		if err != nil {
			return err
		}
		l.Reservations[item.Value.Enclave] = item.Value
		l.was[kv.Key] = stored{kv.ModRevision, kv.Value, item.Value}
	}
	return nil
}

func load[T any](ctx context.Context, r *Records, l *Loaded, codec record.Codec[T], key string) (*T, error) {
	kv, err := r.store.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	item, err := decodeOnce(r, codec, kv)
	if err != nil {
		return nil, err
	}
	l.was[key] = stored{kv.ModRevision, kv.Value, item.Value}
	return &item.Value, nil
}

// NewContainer returns the state from which a container that does not exist yet
// is created: its first commit fails with a conflict if the name or the domain
// is taken meanwhile. A deleted route's generation is carried on.
func (r *Records) NewContainer(ctx context.Context, c *model.Container) (*Loaded, error) {
	l := &Loaded{State: engine.State{Container: c, Reservations: map[string]model.Reservation{}}, was: map[string]stored{}}
	route, err := load(ctx, r, l, Routes, RouteKey(c.Spec.Domain))
	switch {
	case errors.Is(err, store.ErrNotFound):
		route = &model.Route{}
	case err != nil:
		return nil, err
	case !route.Deleted:
		return nil, &DomainTakenError{Domain: c.Spec.Domain}
	}
	l.Route = &model.Route{
		Domain: c.Spec.Domain, Org: c.Org, Container: c.Name,
		State: model.RouteClosed, Generation: route.Generation + 1, Updated: c.Created,
	}
	return l, nil
}

// DomainTakenError says that another container serves the domain.
type DomainTakenError struct{ Domain string }

// Error names the domain.
func (e *DomainTakenError) Error() string {
	return fmt.Sprintf("domain %s is taken by another container: choose another with --custom-domain, or delete that container first", e.Domain)
}

// Extra is what else goes into a commit.
type Extra struct {
	Compares []store.Compare
	Ops      []store.Op
	// Revision is a new revision of the container.
	Revision *model.Revision
}

// Save commits what differs between a loaded state and the next one, with its
// events, in one transaction. It fails with store.ErrConflict if any of the
// records has changed since. What next refers to must not be changed any more.
func (r *Records) Save(ctx context.Context, l *Loaded, next engine.State, log []model.Event, extra Extra) (*Loaded, error) {
	w := &writer{was: l.was, now: map[string]stored{}, compares: extra.Compares, ops: extra.Ops}
	if next.Deleted {
		if err := r.deleteHistory(ctx, next.Container.Key()); err != nil {
			return nil, err
		}
	}
	if err := w.state(next, log, extra.Revision); err != nil {
		return nil, err
	}
	rev, err := r.Commit(ctx, w.compares, w.ops)
	if err != nil {
		return nil, fmt.Errorf("commit container %s: %w", next.Container.Key(), err)
	}
	return r.saved(w, next, rev), nil
}

// deleteHistory removes what a container leaves behind, in pieces that fit a
// transaction. It may be repeated after a crash.
func (r *Records) deleteHistory(ctx context.Context, k model.ContainerKey) error {
	for _, prefix := range []string{revisionsOf(k), UpdatesOf(k), EventsOf(k)} {
		for {
			page, err := r.store.List(ctx, prefix, store.ListOptions{Limit: 500})
			if err != nil {
				return fmt.Errorf("list %s: %w", prefix, err)
			}
			if len(page.KVs) == 0 {
				break
			}
			ops := make([]store.Op, len(page.KVs))
			for i, kv := range page.KVs {
				ops[i] = store.Delete(kv.Key)
			}
			if _, err := r.Commit(ctx, nil, ops); err != nil {
				return fmt.Errorf("delete %s: %w", prefix, err)
			}
		}
	}
	return nil
}

// writer gathers one commit.
type writer struct {
	was, now map[string]stored
	compares []store.Compare
	ops      []store.Op
}

func (w *writer) state(next engine.State, log []model.Event, revision *model.Revision) error {
	k := next.Container.Key()
	if next.Deleted {
		return w.deletion(next, log)
	}
	if err := w.events(next.Container, log); err != nil {
		return err
	}
	if err := put(w, Containers, ContainerKey(k), *next.Container); err != nil {
		return err
	}
	if _, known := w.was[ContainerKey(k)]; !known {
		op, err := Put(uids, uidKey(next.Container.UID), k)
		if err != nil {
			return err
		}
		w.ops = append(w.ops, op)
	}
	if err := put(w, Routes, RouteKey(next.Route.Domain), *next.Route); err != nil {
		return err
	}
	if err := w.update(k, next.Update); err != nil {
		return err
	}
	if err := w.revision(next, revision); err != nil {
		return err
	}
	return w.reservations(next)
}

func (w *writer) update(k model.ContainerKey, u *model.Update) error {
	if u == nil {
		return nil
	}
	key := updateKey(k, u.Number)
	if _, known := w.was[key]; !known && u.Number > keptUpdates {
		w.ops = append(w.ops, store.Delete(updateKey(k, u.Number-keptUpdates)))
	}
	return put(w, Updates, key, *u)
}

func (w *writer) revision(next engine.State, revision *model.Revision) error {
	if revision == nil {
		return nil
	}
	k := next.Container.Key()
	op, err := Put(Revisions, revisionKey(k, revision.Number), *revision)
	if err != nil {
		return err
	}
	w.ops = append(w.ops, op)
	old := revision.Number - keptRevisions
	active := next.Container.Active
	if old > 0 && (active == nil || active.Revision != old) {
		w.ops = append(w.ops, store.Delete(revisionKey(k, old)))
	}
	return nil
}

func (w *writer) reservations(next engine.State) error {
	wanted := map[string]bool{}
	for _, r := range next.Reservations {
		key := reservationKey(r)
		wanted[key] = true
		if err := put(w, Reservations, key, r); err != nil {
			return err
		}
	}
	prefix := reservationsOf(next.Container.Key())
	for key, s := range w.was {
		if len(key) > len(prefix) && key[:len(prefix)] == prefix && !wanted[key] {
			w.compares = append(w.compares, store.ModRevision(key, s.revision))
			w.ops = append(w.ops, store.Delete(key))
		}
	}
	return nil
}

func (w *writer) events(c *model.Container, log []model.Event) error {
	for _, ev := range log {
		c.Events++
		op, err := Put(Events, eventKey(c.Key(), c.Events), ev)
		if err != nil {
			return err
		}
		w.ops = append(w.ops, op)
		if c.Events > keptEvents {
			w.ops = append(w.ops, store.Delete(eventKey(c.Key(), c.Events-keptEvents)))
		}
	}
	return nil
}

func (w *writer) deletion(next engine.State, _ []model.Event) error {
	k := next.Container.Key()
	for key, s := range w.was {
		if strings.HasPrefix(key, UpdatesOf(k)) {
			// It went with the history.
			continue
		}
		w.compares = append(w.compares, store.ModRevision(key, s.revision))
		if key != RouteKey(next.Route.Domain) {
			w.ops = append(w.ops, store.Delete(key))
		}
	}
	w.ops = append(w.ops, store.Delete(uidKey(next.Container.UID)))
	op, err := Put(Routes, RouteKey(next.Route.Domain), *next.Route)
	if err != nil {
		return err
	}
	w.ops = append(w.ops, op)
	return nil
}

// put compares a record with what was read and writes it only if it differs.
func put[T any](w *writer, codec record.Codec[T], key string, v T) error {
	if old := w.was[key]; old.revision != 0 && same(old.value, v) {
		w.compares = append(w.compares, store.ModRevision(key, old.revision))
		w.now[key] = old
		return nil
	}
	data, err := codec.Encode(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	old := w.was[key]
	w.compares = append(w.compares, store.ModRevision(key, old.revision))
	if old.revision != 0 && bytes.Equal(old.data, data) {
		w.now[key] = old
		return nil
	}
	w.ops = append(w.ops, store.Put(key, data))
	w.now[key] = stored{-1, data, v}
	return nil
}

// same says that two values are equal without encoding them, for those kinds of
// records that can be compared.
func same(old, v any) bool {
	switch v := v.(type) {
	case model.Route:
		o, ok := old.(model.Route)
		return ok && o.Equal(v)
	case model.Reservation:
		return old == any(v)
	}
	return false
}

// saved is the state as it stands after the commit. What was written is not
// decoded again.
func (r *Records) saved(w *writer, next engine.State, revision int64) *Loaded {
	l := &Loaded{State: next, was: w.now}
	for key, s := range w.now {
		if s.revision < 0 {
			w.now[key] = stored{revision, s.data, s.value}
			r.decoded.put(key, decodedValue{revision, s.value, len(s.data)})
		}
	}
	l.ContainerRevision = w.now[ContainerKey(next.Container.Key())].revision
	if next.Update != nil {
		l.UpdateRevision = w.now[updateKey(next.Container.Key(), next.Update.Number)].revision
		if next.Update.Status.Ended() {
			delete(w.now, updateKey(next.Container.Key(), next.Update.Number))
			l.State.Update = nil
		}
	}
	return l
}
