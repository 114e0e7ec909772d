package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// values are the metrics by name and labels; a histogram is its number of values.
func values(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			var labels []string
			for _, l := range one.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			v := one.GetGauge().GetValue() + one.GetCounter().GetValue() + float64(one.GetHistogram().GetSampleCount())
			out[strings.TrimSuffix(f.GetName()+"{"+strings.Join(labels, ",")+"}", "{}")] = v
		}
	}
	return out
}

func wants(t *testing.T, m *Metrics, want map[string]float64) {
	t.Helper()
	got := values(t, m)
	for name, v := range want {
		if g, ok := got[prefix+name]; !ok || g != v {
			t.Errorf("%s is %v (told: %v), want %v", name, g, ok, v)
		}
	}
}

// world is a store with one container, in the middle of an update.
type world struct {
	t   *testing.T
	rec *records.Records
	now *records.Loaded
}

func newWorld(t *testing.T, s store.Store) *world {
	t.Helper()
	rec, err := records.Open(t.Context(), s, func() string { return "cl" })
	if err != nil {
		t.Fatal(err)
	}
	c := &model.Container{Org: "acme", Name: "secret-name", UID: "c1", Status: model.Deploying, Spec: model.ContainerSpec{Domain: "api.example"}}
	l, err := rec.NewContainer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, rec: rec, now: l}
	c.Update, c.Updates = "secret-name-u1", 1
	w.save(func(s *engine.State) {
		s.Update = &model.Update{
			ID: "secret-name-u1", Number: 1, Org: c.Org, Container: c.Name, Strategy: model.BlueGreen,
			Status: model.Pending, Step: model.StepBoot, Created: time.Unix(1000, 0),
		}
	})
	return w
}

func (w *world) save(change func(*engine.State)) {
	w.t.Helper()
	next := w.now.State
	next.Container = next.Container.Clone()
	if next.Update != nil {
		next.Update = next.Update.Clone()
	}
	change(&next)
	l, err := w.rec.Save(w.t.Context(), w.now, next, nil, records.Extra{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.now = l
}

// end lets the update succeed.
func (w *world) end() {
	w.save(func(s *engine.State) {
		s.Container.Status, s.Container.Update = model.Running, ""
		s.Update.Status, s.Update.Step, s.Update.Ended = model.Succeeded, model.StepDone, time.Unix(1060, 0)
		s.Update.History = []model.StepRecord{{Step: model.StepBoot, Entered: time.Unix(1000, 0), Left: time.Unix(1030, 0)}}
	})
}

func TestContainersAndUpdatesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		if _, told := values(t, m)[prefix+"containers{status=RUNNING}"]; told {
			t.Error("containers are told of before they were counted")
		}
		w := newWorld(t, memory.New(memory.Config{}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Follow(ctx, w.rec, slog.New(slog.DiscardHandler)) }()
		synctest.Wait()
		wants(t, m, map[string]float64{"containers{status=DEPLOYING}": 1, "containers{status=RUNNING}": 0, "updates_in_progress{step=BOOT}": 1})
		w.save(func(s *engine.State) { s.Update.Status, s.Update.Step = model.Started, model.StepHealth })
		synctest.Wait()
		wants(t, m, map[string]float64{"updates_in_progress{step=BOOT}": 0, "updates_in_progress{step=HEALTH}": 1})
		w.end()
		synctest.Wait()
		wants(t, m, map[string]float64{
			"containers{status=DEPLOYING}": 0, "containers{status=RUNNING}": 1, "updates_in_progress{step=HEALTH}": 0,
			"update_seconds{outcome=SUCCEEDED,strategy=BLUE_GREEN}": 1, "update_step_seconds{step=BOOT}": 1,
		})
		w.save(func(s *engine.State) { s.Deleted = true })
		synctest.Wait()
		wants(t, m, map[string]float64{"containers{status=RUNNING}": 0, "update_seconds{outcome=SUCCEEDED,strategy=BLUE_GREEN}": 1})
		stop()
		if err := <-done; err != nil {
			t.Errorf("following ends with %v", err)
		}
	})
}

// lossy is a store whose watches end, as those of readers that fell behind, when
// they are lost.
type lossy struct {
	store.Store
	mu   sync.Mutex
	lost chan struct{}
}

// Watch begins a watch.
func (l *lossy) Watch(ctx context.Context, prefix string, from int64) (store.Watcher, error) {
	w, err := l.Store.Watch(ctx, prefix, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	return &lossyWatcher{w, l.lost}, err
}

// lose ends the watches that there are.
func (l *lossy) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.lost)
	l.lost = make(chan struct{})
}

type lossyWatcher struct {
	store.Watcher
	lost <-chan struct{}
}

// Next fails once what has happened since is lost.
func (w *lossyWatcher) Next(ctx context.Context) (store.Batch, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-w.lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	b, err := w.Watcher.Next(ctx)
	select {
	case <-w.lost:
		return store.Batch{}, store.ErrSlowReader
	default:
		return b, err
	}
}

func TestWhoeverFellBehindCountsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := New(), &lossy{Store: memory.New(memory.Config{}), lost: make(chan struct{})}
		w := newWorld(t, s)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Follow(ctx, w.rec, slog.New(slog.DiscardHandler)) }()
		synctest.Wait()
		wants(t, m, map[string]float64{"containers{status=DEPLOYING}": 1, "updates_in_progress{step=BOOT}": 1})
		s.lose()
		synctest.Wait()
		w.end() // nobody is told
		time.Sleep(time.Minute)
		synctest.Wait()
		wants(t, m, map[string]float64{"containers{status=DEPLOYING}": 0, "containers{status=RUNNING}": 1, "updates_in_progress{step=BOOT}": 0})
		w.save(func(s *engine.State) { s.Deleted = true })
		synctest.Wait()
		wants(t, m, map[string]float64{"containers{status=RUNNING}": 0})
		stop()
		if err := <-done; err != nil {
			t.Errorf("following ends with %v", err)
		}
	})
}

func TestCommitsAreTimedAndFailuresToldApart(t *testing.T) {
	m := New()
	disk := &broken{Store: memory.New(memory.Config{})}
	s := m.Store(disk)
	for _, disk.err = range []error{nil, store.ErrConflict, store.ErrFull, store.ErrIO, fmt.Errorf("wrapped: %w", store.ErrConflict)} {
		if _, err := s.Txn(t.Context(), nil, []store.Op{store.Put("a/b", []byte("x"))}); !errors.Is(err, disk.err) {
			t.Errorf("a commit gives %v, want %v", err, disk.err)
		}
	}
	wants(t, m, map[string]float64{
		"store_commit_seconds": 5, "store_commit_failures_total{reason=conflict}": 2,
		"store_commit_failures_total{reason=full}": 1, "store_commit_failures_total{reason=other}": 1,
	})
}

// broken is a store whose commits fail with err, if there is one.
type broken struct {
	store.Store
	err error
}

// Txn fails.
func (b *broken) Txn(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	if b.err != nil {
		return 0, b.err
	}
	return b.Store.Txn(ctx, compares, ops)
}

// oracle answers with what it is told to.
type oracle struct {
	verdict *model.Verdict
	err     error
}

// Attest answers.
func (o *oracle) Attest(context.Context, model.ContainerKey, model.EnclaveRef, model.Revision, *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	return o.verdict, nil, o.err
}

// Judge answers.
func (o *oracle) Judge(context.Context, model.ContainerKey, model.EnclaveRef, model.Revision, *agentv1.EnclaveSpec) (*model.Verdict, *engine.Failure, error) {
	return o.verdict, nil, o.err
}

func TestJudgementsAreCountedByResult(t *testing.T) {
	m := New()
	o := &oracle{}
	a := m.Attestor(o)
	for _, *o = range []oracle{{verdict: &model.Verdict{Accepted: true}}, {verdict: &model.Verdict{}}, {err: errors.New("no answer")}, {verdict: &model.Verdict{}}} {
		_, _, err := a.Attest(t.Context(), model.ContainerKey{}, model.EnclaveRef{}, model.Revision{}, nil)
		_, _, again := a.Judge(t.Context(), model.ContainerKey{}, model.EnclaveRef{}, model.Revision{}, nil)
		if !errors.Is(err, o.err) || !errors.Is(again, o.err) {
			t.Errorf("a judgement gives %v and %v, want %v", err, again, o.err)
		}
	}
	for _, of := range []string{"candidate", "serving"} {
		wants(t, m, map[string]float64{
			"attestations_total{of=" + of + ",result=accepted}": 1, "attestations_total{of=" + of + ",result=refused}": 2,
			"attestations_total{of=" + of + ",result=unanswered}": 1,
		})
	}
}

// TestNamesAndLabelsAreStable fails when a name or a label changes: dashboards and
// alerts stand on them. No label may name what there are thousands of.
func TestNamesAndLabelsAreStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		m.Watch(Live{
			Fleet:    func() fleet.Census { return fleet.Census{Hosts: map[fleet.Status]int{fleet.Ready: 2}, FreeGPUs: 3} },
			Gateways: func() int { return 1 }, Streams: func() int { return 4 },
		})
		w := newWorld(t, m.Store(memory.New(memory.Config{})))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Follow(ctx, w.rec, slog.New(slog.DiscardHandler)) }()
		synctest.Wait()
		w.end()
		synctest.Wait()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		wants(t, m, map[string]float64{"hosts{state=READY}": 2, "hosts{state=UNREACHABLE}": 0, "gpus{state=free}": 3, "gateways": 1, "streams_open": 4})
		got := map[string]bool{}
		for series := range values(t, m) {
			if strings.Contains(series, "secret-name") || strings.Contains(series, "acme") {
				t.Errorf("%s names a container", series)
			}
			name, labels, _ := strings.Cut(series, "{")
			var keys []string
			for pair := range strings.SplitSeq(strings.TrimSuffix(labels, "}"), ",") {
				key, _, _ := strings.Cut(pair, "=")
				keys = append(keys, key)
			}
			got[strings.TrimSpace(strings.TrimPrefix(name, prefix)+" "+strings.Join(keys, ","))] = true
		}
		want := []string{
			"attestations_total of,result", "containers status", "gateways", "gpus state", "gpus_reserved", "hosts state", "hosts_cordoned",
			"store_commit_failures_total reason", "store_commit_seconds", "streams_open", "update_seconds outcome,strategy",
			"update_step_seconds step", "updates_in_progress step",
		}
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
			t.Errorf("metrics are\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
		}
	})
}
