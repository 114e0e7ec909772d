package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

var api = model.ContainerKey{Org: "acme", Name: "api"}

// disk is a store whose writes can be made to fail.
type disk struct {
	store.Store
	mu sync.Mutex
	// before may return an error instead of the transaction, after one although
	// it was applied. Each is asked for every transaction.
	before, after func() error
}

func (d *disk) Txn(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	d.mu.Lock()
	before, after := d.before, d.after
	d.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return 0, err
		}
	}
	rev, err := d.Store.Txn(ctx, compares, ops)
	if err == nil && after != nil {
		if err := after(); err != nil {
			return 0, err
		}
	}
	return rev, err
}

func (d *disk) set(before, after func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before, d.after = before, after
}

// rig is a coordinator's core that can crash and come back over the same store
// and hosts.
type rig struct {
	t      *testing.T
	disk   *disk
	hosts  *hosts
	runner *Runner
	rec    *records.Records
	ctx    context.Context
	crash  context.CancelFunc
	// behind is how much the coordinator's clock is late, in nanoseconds.
	behind atomic.Int64
	// made counts the containers created: each has a uid of its own.
	made int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, disk: &disk{Store: memory.New(memory.Config{})}, hosts: newHosts(api)}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) open() *Runner {
	r.t.Helper()
	var err error
	r.rec, err = records.Open(r.t.Context(), r.disk, func() string { return "c-1" })
	if err != nil {
		r.t.Fatal(err)
	}
	run, err := New(Config{
		Log: slog.New(slog.DiscardHandler), Records: r.rec,
		Engine: engine.Engine{Limits: engine.DefaultLimits()},
		Agents: r.hosts, Gateways: r.hosts, Attestor: r.hosts, DNS: r.hosts, Replanner: r.hosts,
		Permanent: permanent, Now: func() time.Time { return time.Now().Add(-time.Duration(r.behind.Load())).Round(0) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return run
}

func (r *rig) start() {
	r.t.Helper()
	r.runner = r.open()
	var ctx context.Context
	ctx, r.crash = context.WithCancel(context.Background())
	r.hosts.mu.Lock()
	r.hosts.promised = map[string]model.Reservation{}
	r.hosts.sink = r.runner.Observed
	r.hosts.mu.Unlock()
	if err := r.runner.Promises(ctx); err != nil {
		r.t.Fatal(err)
	}
	var err error
	if r.ctx, err = r.runner.Start(ctx); err != nil {
		r.t.Fatal(err)
	}
	// A fleet tells all it knows when it connects.
	for _, o := range r.hosts.all() {
		r.runner.Observed(api, o)
	}
}

func (h *hosts) all() []model.Observation {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []model.Observation
	for _, o := range h.enclaves {
		out = append(out, *o)
	}
	return out
}

func (r *rig) stop() {
	r.crash()
	r.runner.Wait()
}

func revision(n int64) *model.Revision {
	return &model.Revision{Number: n, Tag: fmt.Sprintf("v%d", n), Config: []byte("x"), Room: model.Room{GPUs: 1}}
}

func startEvent(strategy model.Strategy, n int64, o model.UpdateOptions) engine.Start {
	tag := fmt.Sprintf("v%d", n)
	return engine.Start{Revision: n, Update: model.Update{
		Kind: model.KindUpdate, Strategy: strategy, Options: o, ToTag: tag,
		New:     model.EnclaveRef{Host: "h1", Tag: tag, Room: model.Room{GPUs: 1}},
		NewSpec: model.ContainerSpec{Tag: tag, Domain: "api.example"},
	}}
}

// create deploys v1.
func (r *rig) create() error {
	r.made++
	c := &model.Container{Org: api.Org, Name: api.Name, UID: fmt.Sprintf("u%d", r.made), Status: model.Deploying, Spec: model.ContainerSpec{Tag: "v1", Domain: "api.example"}}
	_, err := r.runner.Create(r.t.Context(), c, func(context.Context, *records.Loaded) (engine.Event, records.Extra, error) {
		return startEvent(model.BlueGreen, 1, model.UpdateOptions{}), records.Extra{Revision: revision(1)}, nil
	})
	return err
}

// ask applies one event on behalf of a user.
func (r *rig) ask(ev engine.Event) error {
	_, err := r.runner.Do(r.t.Context(), api, func(context.Context, *records.Loaded) (engine.Event, records.Extra, error) {
		var extra records.Extra
		if s, ok := ev.(engine.Start); ok {
			extra.Revision = revision(s.Revision)
		}
		return ev, extra, nil
	})
	return err
}

// deployed returns a rig in which v1 serves.
func deployed(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	if err := r.create(); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Minute)
	r.wants(model.Running, "v1", model.Succeeded)
	return r
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) state() *records.Loaded {
	r.t.Helper()
	l, err := r.rec.Load(r.t.Context(), api)
	if err != nil {
		r.t.Fatalf("load: %v", err)
	}
	return l
}

func (r *rig) last() model.Update {
	r.t.Helper()
	u, err := r.rec.Update(r.t.Context(), api, r.state().Container.LastUpdate)
	if err != nil {
		r.t.Fatal(err)
	}
	return u.Value
}

// wants checks a container at rest: its status, the tag that serves, how the
// last update ended, and that nothing is left over.
func (r *rig) wants(status model.ContainerStatus, tag string, ended model.UpdateStatus) {
	r.t.Helper()
	s := r.state()
	c := s.Container
	if c.Status != status {
		r.t.Errorf("container is %s (%s), want %s", c.Status, c.Text, status)
	}
	serves, id := "", ""
	if c.Active != nil {
		serves, id = c.Active.Tag, c.Active.ID
	}
	if serves != tag {
		r.t.Errorf("%q serves, want %q", serves, tag)
	}
	if u := r.last(); u.Status != ended {
		r.t.Errorf("update is %s (%s, %s), want %s", u.Status, u.Step, u.Text, ended)
	}
	if tag != "" && (s.Route.State != model.RouteServing || s.Route.Enclave != id) {
		r.t.Errorf("route is %s to %s, want it serving to %s", s.Route.State, s.Route.Enclave, id)
	}
	r.quiet(id)
}

// quiet checks that only the enclave named runs and holds a promise.
func (r *rig) quiet(id string) {
	r.t.Helper()
	want := []string{}
	if id != "" {
		want = append(want, id)
	}
	if got := r.hosts.running(); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		r.t.Errorf("running are %v, want %v", got, want)
	}
	r.hosts.mu.Lock()
	defer r.hosts.mu.Unlock()
	for p := range r.hosts.promised {
		if p != id {
			r.t.Errorf("%s still holds a promise", p)
		}
	}
	if id != "" && r.hosts.promised[id].Enclave == "" {
		r.t.Errorf("%s, which serves, holds no promise", id)
	}
}

// refused checks that a request got this answer.
func refused(t *testing.T, err error, reason string) {
	t.Helper()
	var r *engine.Refused
	if !errors.As(err, &r) || r.Reason != reason {
		t.Errorf("got %v, want a refusal %s", err, reason)
	}
}
