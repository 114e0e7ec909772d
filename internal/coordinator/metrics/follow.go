package metrics

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/record"
)

// Follow keeps count of containers and updates by watching the store, as any client
// does, until ctx ends.
func (m *Metrics) Follow(ctx context.Context, rec *records.Records, log *slog.Logger) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, m.follow(ctx, rec) },
		backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
			log.Warn("metrics: follow the store again", "error", err)
		}))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (m *Metrics) follow(ctx context.Context, rec *records.Records) error {
	from, err := rec.Store().Revision(ctx)
	if err != nil {
		return err
	}
	m.followed.reset()
	if err := m.begin(ctx, rec); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	each := func(prefix string, take func(context.Context, *records.Records, store.Event) error) {
		g.Go(func() error {
			return store.Follow(ctx, rec.Store(), prefix, from, func(ev store.Event) error { return take(ctx, rec, ev) })
		})
	}
	each(records.ContainerPrefix, m.container)
	each(records.UpdatePrefix, m.update)
	return g.Wait()
}

// begin counts what is there already. What changes meanwhile is counted again by the
// watches, as what it has become.
func (m *Metrics) begin(ctx context.Context, rec *records.Records) error {
	for after := ""; ; {
		items, more, err := records.List(ctx, rec, records.Containers, records.ContainerPrefix, store.ListOptions{After: after, Limit: 500})
		if err != nil {
			return err
		}
		for _, item := range items {
			after = item.Key
			m.followed.setContainer(item.Key, item.Value.Status)
			if item.Value.Update == "" {
				continue
			}
			u, err := rec.Update(ctx, item.Value.Key(), item.Value.Update)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if err == nil && !u.Value.Status.Ended() {
				m.followed.setUpdate(u.Key, u.Value.Step)
			}
		}
		if !more {
			m.followed.ready()
			return nil
		}
	}
}

// current reads the record that an event tells of, which has been decoded already by
// whoever wrote it. It is not current if there is a later event about it.
func current[T any](ctx context.Context, rec *records.Records, codec record.Codec[T], ev store.Event) (v T, ok bool, err error) {
	item, err := records.Get(ctx, rec, codec, ev.KV.Key)
	if errors.Is(err, store.ErrNotFound) {
		return v, false, nil
	}
	return item.Value, err == nil && item.Revision == ev.KV.ModRevision, err
}

func (m *Metrics) container(ctx context.Context, rec *records.Records, ev store.Event) error {
	if ev.Type == store.EventDelete {
		m.followed.dropContainer(ev.KV.Key)
		return nil
	}
	c, ok, err := current(ctx, rec, records.Containers, ev)
	if ok {
		m.followed.setContainer(ev.KV.Key, c.Status)
	}
	return err
}

func (m *Metrics) update(ctx context.Context, rec *records.Records, ev store.Event) error {
	if ev.Type == store.EventDelete {
		m.followed.dropUpdate(ev.KV.Key)
		return nil
	}
	u, ok, err := current(ctx, rec, records.Updates, ev)
	switch {
	case !ok:
		return err
	case !u.Status.Ended():
		m.followed.setUpdate(ev.KV.Key, u.Step)
	default:
		m.followed.dropUpdate(ev.KV.Key)
		m.ended(&u)
	}
	return nil
}

// ended counts an update that has come to its end.
func (m *Metrics) ended(u *model.Update) {
	m.updates.WithLabelValues(string(u.Strategy), string(u.Status)).Observe(u.Ended.Sub(u.Created).Seconds())
	for _, h := range u.History {
		if !h.Left.IsZero() {
			m.steps.WithLabelValues(string(h.Step)).Observe(h.Left.Sub(h.Entered).Seconds())
		}
	}
}

// followed are the containers and the updates in progress.
type followed struct {
	mu         sync.Mutex
	complete   bool
	containers map[string]model.ContainerStatus
	updates    map[string]model.Step
}

func (f *followed) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete, f.containers, f.updates = false, map[string]model.ContainerStatus{}, map[string]model.Step{}
}

func (f *followed) ready() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete = true
}

func (f *followed) setContainer(key string, s model.ContainerStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers[key] = s
}

func (f *followed) dropContainer(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.containers, key)
}

func (f *followed) setUpdate(key string, s model.Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.updates[key] = s
}

func (f *followed) dropUpdate(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.updates, key)
}

var (
	descContainers = describe("containers", "Containers, by status; absent until all have been counted.", "status")
	descInProgress = describe("updates_in_progress", "Updates in progress, by step; absent until all have been counted.", "step")
)

// Describe implements prometheus.Collector.
func (f *followed) Describe(out chan<- *prometheus.Desc) {
	out <- descContainers
	out <- descInProgress
}

// Collect implements prometheus.Collector.
func (f *followed) Collect(out chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.complete {
		return
	}
	statuses := map[model.ContainerStatus]int{}
	for _, s := range []model.ContainerStatus{model.Deploying, model.Running, model.Failed, model.Stopping, model.Stopped, model.Deleting} {
		statuses[s] = 0
	}
	for _, s := range f.containers {
		statuses[s]++
	}
	for s, n := range statuses {
		gauge(out, descContainers, n, string(s))
	}
	steps := map[model.Step]int{}
	for _, s := range engine.Steps() {
		steps[s] = 0
	}
	delete(steps, model.StepDone) // nothing is in progress there
	for _, s := range f.updates {
		steps[s]++
	}
	for s, n := range steps {
		gauge(out, descInProgress, n, string(s))
	}
}
