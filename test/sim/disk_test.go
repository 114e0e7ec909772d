package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

// disk is the store as all coordinators see it, with the faults that disks have.
type disk struct {
	store.Store
	// commit keeps the order of commits and of what is seen of them the same.
	commit sync.Mutex
	full   bool
	// tight: nothing fits any more but what is noted of machines.
	tight bool
	// fillings counts how often the disk was filled or freed by an action.
	fillings int
	// doubtful commits fail although they were applied, failing ones without;
	// faultAt is when one failed last.
	doubtful, failing int
	faultAt           time.Time
}

// handle is one coordinator's way to the store.
type handle struct {
	*disk
	w *world
	c *coordinator
}

// Txn commits, unless the disk or the process fails first.
func (h *handle) Txn(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	w := h.w
	w.mu.Lock()
	entered := w.entering(ops)
	err := h.before(ops, len(entered) > 0)
	if err == nil && h.c.reaches("before the commit that enters ", entered) {
		err = context.Canceled
	}
	if err != nil {
		h.faultAt = time.Now()
		w.mu.Unlock()
		return 0, err
	}
	w.mu.Unlock()
	h.commit.Lock()
	defer h.commit.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// What has begun is not given up: a store that can't tell whether it applied a
	// transaction would leave the view without it.
	rev, err := h.Store.Txn(context.WithoutCancel(ctx), compares, ops)
	if err != nil || len(ops) == 0 {
		return rev, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.committed(h.c, ops, rev)
	if err := ctx.Err(); err != nil {
		return 0, errors.Join(store.ErrOutcomeUnknown, err)
	}
	if h.doubtful > 0 && !w.calm {
		h.doubtful--
		h.faultAt = time.Now()
		w.say("a commit is applied, and fails")
		return 0, store.ErrIO
	}
	if h.c.doomsAt("after a commit", len(entered) > 0) || h.c.reaches("after the commit that enters ", entered) {
		return 0, context.Canceled
	}
	return rev, nil
}

// entering are the steps that a commit enters, and ANEW if a machine is found to be
// another one by it.
func (w *world) entering(ops []store.Op) []string {
	if !w.keep {
		return nil
	}
	var out []string
	for _, op := range ops {
		if name, ok := strings.CutPrefix(op.Key, records.MachinePrefix); ok && op.Kind == store.OpPut {
			if was := w.view.machines[name].Incarnation; was != "" && was != decode[model.Machine](w, op).Incarnation {
				out = append(out, "ANEW")
			}
		}
		if op.Kind != store.OpPut || !strings.HasPrefix(op.Key, records.UpdatePrefix+"acme/api/") {
			continue
		}
		u := decode[model.Update](w, op)
		had := 0
		if s := w.view.containers["acme/api"]; s != nil && s.update != nil && s.update.ID == u.ID {
			had = len(s.update.History)
		}
		for _, r := range u.History[min(had, len(u.History)):] {
			out = append(out, string(r.Step))
		}
	}
	return out
}

// reaches is dooms for commits that enter steps.
func (c *coordinator) reaches(what string, steps []string) bool {
	hit := false
	for _, step := range steps {
		hit = c.w.reach(what+step) || hit
	}
	if hit && !c.dead {
		c.w.say("the coordinator crashes: %s", c.w.crashAt)
		c.die()
	}
	return hit
}

func (h *handle) before(ops []store.Op, enters bool) error {
	switch {
	case len(ops) == 0:
		return nil
	case h.full, h.tight && !strings.HasPrefix(ops[0].Key, records.MachinePrefix):
		return store.ErrFull
	case h.failing > 0 && !h.w.calm:
		h.failing--
		return store.ErrIO
	case h.c.doomsAt("before a commit", enters):
		return context.Canceled
	}
	return nil
}

// seen is one container as it is committed.
type seen struct {
	key          model.ContainerKey
	container    *model.Container
	update       *model.Update
	reservations map[string]model.Reservation
	// switched are the updates whose candidate was switched to, by id.
	switched map[string]bool
	statuses map[string]model.UpdateStatus
	requests map[string]string
}

// view is everything that is committed, decoded from what was written.
type view struct {
	epoch        int64
	containers   map[string]*seen
	routes       map[string]model.Route
	reservations map[string]model.Reservation
	hosts        map[string]model.Host
	machines     map[string]model.Machine
	revision     int64
}

func newView() *view {
	return &view{
		containers: map[string]*seen{}, routes: map[string]model.Route{},
		reservations: map[string]model.Reservation{}, hosts: map[string]model.Host{}, machines: map[string]model.Machine{},
	}
}

// of returns the container of a key's rest, org/name/….
func (v *view) of(rest string) *seen {
	parts := strings.SplitN(rest, "/", 3)
	name := parts[0] + "/" + parts[1]
	c := v.containers[name]
	if c == nil {
		c = &seen{
			key:          model.ContainerKey{Org: parts[0], Name: parts[1]},
			reservations: map[string]model.Reservation{}, switched: map[string]bool{},
			statuses: map[string]model.UpdateStatus{}, requests: map[string]string{},
		}
		v.containers[name] = c
	}
	return c
}

// decode reads what is written, once for all who ask.
func decode[T any](w *world, op store.Op) T {
	if m, ok := w.decoded[op.Key]; ok && unsafe.SliceData(m.data) == unsafe.SliceData(op.Value) {
		if v, ok := m.value.(T); ok {
			return v
		}
	}
	var e struct {
		Kind string `json:"kind"`
		V    int    `json:"v"`
		Data T      `json:"data"`
	}
	if err := json.Unmarshal(op.Value, &e, jsonv1.DefaultOptionsV1()); err != nil {
		panic(fmt.Sprintf("record %s: %v", op.Key, err))
	}
	w.decoded[op.Key] = written{op.Value, e.Data}
	return e.Data
}

// written is a record as it was last written.
type written struct {
	data  []byte
	value any
}

// committed takes a commit into the view and checks what has to hold.
func (w *world) committed(c *coordinator, ops []store.Op, rev int64) {
	w.stats.steps++
	v := w.view
	if c.epoch > 0 && c.epoch < v.epoch {
		w.violate("I7", "the coordinator of epoch %d commits although %d has followed", c.epoch, v.epoch)
	}
	if rev <= v.revision {
		w.violate("I7", "revision %d follows %d", rev, v.revision)
	}
	v.revision = rev
	touched := map[*seen]change{}
	var routes []model.Route
	for _, op := range ops {
		w.take(op, touched, &routes)
	}
	for s, was := range touched {
		w.check(s, was)
	}
	for _, r := range routes {
		for _, g := range w.gates {
			g.send(r)
		}
	}
}

// change is what a container was before a commit.
type change struct {
	container *model.Container
	update    *model.Update
	route     model.Route
}

func (w *world) take(op store.Op, touched map[*seen]change, routes *[]model.Route) {
	v := w.view
	kind, rest, _ := strings.Cut(op.Key, "/")
	touch := func(s *seen) *seen {
		if _, ok := touched[s]; !ok {
			c := change{container: s.container, update: s.update}
			if s.container != nil {
				c.route = v.routes[s.container.Spec.Domain]
			}
			touched[s] = c
		}
		return s
	}
	del := op.Kind == store.OpDelete
	switch kind + "/" {
	case records.ContainerPrefix:
		s := touch(v.of(rest))
		if s.container = nil; !del {
			c := decode[model.Container](w, op)
			s.container = &c
		}
	case records.UpdatePrefix:
		if del {
			return
		}
		u := decode[model.Update](w, op)
		s := touch(v.of(rest))
		w.updateSeen(s, &u)
	case records.ReservationPrefix:
		s := touch(v.of(rest))
		id := rest[strings.LastIndexByte(rest, '/')+1:]
		delete(s.reservations, id)
		delete(v.reservations, id)
		if !del {
			r := decode[model.Reservation](w, op)
			s.reservations[id], v.reservations[id] = r, r
		}
	case records.RoutePrefix:
		r := decode[model.Route](w, op)
		if was := v.routes[r.Domain]; r.Generation < was.Generation || r.Generation == was.Generation && !leadsAlike(r, was) {
			w.violate("I7", "the route of %s goes from generation %d to %d", r.Domain, was.Generation, r.Generation)
		}
		w.routeLeaps(r, v.routes[r.Domain])
		touch(v.of(r.Org + "/" + r.Container))
		v.routes[r.Domain] = r
		*routes = append(*routes, r)
	case records.RequestPrefix:
		r := decode[model.Request](w, op)
		w.requestSeen(rest, r)
	case records.HostPrefix:
		w.hostSeen(rest, op)
	case records.MachinePrefix:
		if delete(v.machines, rest); !del {
			v.machines[rest] = decode[model.Machine](w, op)
		}
	case records.EventPrefix:
		if w.verbose && !del {
			e := decode[model.Event](w, op)
			w.say("        %s: %s: %s", e.Container, e.Reason, e.Text)
		}
	case "meta/":
		if rest == "epoch" {
			epoch := decode[int64](w, op)
			if epoch <= v.epoch {
				w.violate("I7", "epoch %d follows %d", epoch, v.epoch)
			}
			v.epoch = epoch
		}
	}
}

// hostSeen notes that a host is added, changed, or forgotten: then nobody answers
// for what runs on it, dead or alive.
func (w *world) hostSeen(name string, op store.Op) {
	if op.Kind != store.OpDelete {
		h := decode[model.Host](w, op)
		w.view.hosts[name] = h
		if !h.Cordoned {
			w.host(name).uncordoned = time.Now()
		}
		return
	}
	delete(w.view.hosts, name)
	h := w.host(name)
	h.forgotten = true
	for _, e := range h.enclaves {
		e.lied = true
	}
}

func (w *world) updateSeen(s *seen, u *model.Update) {
	if s.statuses[u.ID] == "" {
		w.stats.updates++
	}
	if u.Status.Ended() && !s.statuses[u.ID].Ended() {
		w.stats.ended++
	}
	s.statuses[u.ID] = u.Status
	s.update = u
}

func (v *view) names() []string {
	var out []string
	for name, s := range v.containers {
		if s.container != nil {
			out = append(out, name)
		}
	}
	return out
}
