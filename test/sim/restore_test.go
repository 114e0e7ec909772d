package sim

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
	"github.com/casemate-dev/casemate/internal/store/sqlite"
)

// restoreGrace is the reaper's grace with which an operator starts a coordinator
// on a restored store (docs/restore.md), reaperGrace what it is otherwise.
const (
	restoreGrace = 40 * time.Minute
	reaperGrace  = 5 * time.Minute
)

// takeBackup keeps a copy of the store as the coordinator has it now. mu is held.
func (w *world) takeBackup() {
	if c := w.leader(); c == nil || c.dead {
		return
	}
	w.say("a backup is made")
	w.backupAt = time.Now()
	switch s := w.disk.Store.(type) {
	case *memory.Store:
		restored := s.Restored()
		w.backup = func() (store.Store, error) { return restored, nil }
	case *sqlite.Store:
		w.serial++
		path := filepath.Join(w.dir, fmt.Sprintf("backup-%d.db", w.serial))
		if err := s.Backup(context.Background(), path); err != nil {
			panic(err)
		}
		w.backup = func() (store.Store, error) { return open(path) }
	}
}

// restore has an operator stop every coordinator and, while messages of the time
// before still arrive, put the last backup in the place of the store. A backup is
// restored once: another one is made afterwards. mu is held.
func (w *world) restore() {
	if w.backup == nil || w.putting != nil || w.calm {
		return
	}
	w.say("the coordinator is stopped, for the backup to be restored")
	for _, c := range w.coords {
		c.die()
	}
	w.downUntil = time.Now().Add(w.between("restore", 5*time.Minute, 20*time.Minute))
	w.putting, w.backup = w.backup, nil
}

// putBack puts the backup in the place of the store; no coordinator runs.
func (w *world) putBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.putting()
	if err != nil {
		panic(err)
	}
	if w.watch != nil {
		w.watch.close()
		defer func() { w.watch = w.watchFromHere() }()
	}
	if err := w.disk.Close(); err != nil {
		panic(err)
	}
	w.disk.Store, w.putting = s, nil
	w.restored = true
	w.say("the backup is restored")
	w.lookAgain()
}

// lookAgain makes the view what the store holds, as a backup put it back. What is
// never to go back stays: epoch, revision and, apart, the generations of routes.
func (w *world) lookAgain() {
	was, stats, floors := w.view, w.stats, w.floors
	for domain, r := range was.routes {
		floors[domain] = max(floors[domain], r.Generation)
	}
	w.view, w.floors = newView(), nil
	w.requests, w.silences, w.forced = map[string]promised{}, map[string]silenceOf{}, map[string]bool{}
	page, err := w.disk.List(context.Background(), "", store.ListOptions{})
	if err != nil {
		panic(err)
	}
	touched, routes := map[*seen]change{}, []model.Route{}
	for _, kv := range page.KVs {
		if strings.HasPrefix(kv.Key, "meta/") || strings.HasPrefix(kv.Key, records.EventPrefix) {
			continue
		}
		w.take(store.Op{Kind: store.OpPut, Key: kv.Key, Value: kv.Value}, touched, &routes)
		if strings.HasPrefix(kv.Key, records.UpdatePrefix) {
			u := decode[model.Update](w, store.Op{Key: kv.Key, Value: kv.Value})
			w.view.of(strings.TrimPrefix(kv.Key, records.UpdatePrefix)).switched[u.ID] = u.Switched && !u.Restoring
		}
	}
	w.quiet, w.distrusted = map[model.ContainerKey]bool{}, map[string]bool{}
	for _, s := range w.view.containers {
		w.noteDistrust(s)
		w.quiet[s.key] = s.container != nil && s.container.Status == model.Running && s.container.Update == ""
	}
	w.view.epoch, w.view.revision, w.stats, w.floors = was.epoch, was.revision, stats, floors
	w.orphan()
}

// orphan marks what is of the time that was lost: nobody answers for it, and if it
// runs, it goes on until the reaper's grace is over.
func (w *world) orphan() {
	for _, h := range w.hosts {
		for id, e := range h.enclaves {
			if !e.asked {
				continue
			}
			known, wanted := w.knows(id)
			// What had been stopped before the backup, and runs on because its agent
			// lied, is of no time.
			lost := !known && e.born.After(w.backupAt)
			if lost && e.runs() {
				w.say("%s on %s is of the time that was lost", id, h.name)
			}
			// What was about to boot may be taken up again, or not.
			e.orphan, e.lied = lost, e.lied || !wanted
		}
	}
}

// knows says whether a container has to do with an enclave, and whether it may run
// as far as the container knows.
func (w *world) knows(id string) (known, wanted bool) {
	for _, s := range w.view.containers {
		if s.container == nil {
			continue
		}
		st := s.state(w.view)
		has := func(ref model.EnclaveRef) bool { return ref.ID == id }
		if slices.ContainsFunc(engine.Wanted(st), has) || leftover(s.container, id) {
			return true, true
		}
		if u := st.Update; u != nil && (u.New.ID == id || u.Old != nil && u.Old.ID == id || u.Failed != nil && u.Failed.ID == id) {
			return true, false
		}
	}
	return false, false
}

// grace is the reaper's for a coordinator that starts now. mu is not held.
func (f *fleet) grace() time.Duration {
	w := f.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.restored {
		return reaperGrace
	}
	f.spared, f.sparedBy = w.clock().Add(restoreGrace), w.jumps
	return restoreGrace
}

// orphanStopped: a coordinator has what was deployed since the backup go on for as
// long as the operator has told it, unless the clock jumps meanwhile. mu is held.
func (f *fleet) orphanStopped(h *host, id string) {
	w := f.w
	if e := h.enclaves[id]; e != nil && e.orphan && e.runs() && w.jumps == f.sparedBy && w.clock().Before(f.spared) {
		w.violate("restore", "%s on %s, which is of the time that was lost, is told to stop before %s", e.id, h.name, f.spared)
	}
}

// routeLeaps: what a restored coordinator switches to gets its traffic, whatever
// gateways hold from the time that was lost.
func (w *world) routeLeaps(r, was model.Route) {
	if floor := w.floors[r.Domain]; r.Generation <= floor && r.State == model.RouteServing && r.Enclave != was.Enclave {
		w.violate("I7", "the route of %s to %s has generation %d after the restore, it had %d before", r.Domain, r.Enclave, r.Generation, floor)
	}
}

// idsAreNew: a candidate is not given the id of an enclave of the time that was
// lost, whose end or life would be taken for its own.
func (w *world) idsAreNew(s *seen, was change) {
	if s.update == nil {
		return
	}
	if s.container.Update == s.update.ID && s.update.Kind != model.KindRestart {
		delete(w.quiet, s.key)
	}
	if was.update != nil && was.update.New.ID == s.update.New.ID {
		return
	}
	for _, h := range w.hosts {
		if e := h.enclaves[s.update.New.ID]; e != nil && e.orphan {
			w.violate("restore", "%s of %s has the id of an enclave of the time that was lost, on %s", e.id, s.update.ID, h.name)
		}
	}
}

// closesTheLost: a version of the time that was lost serves on until the one of the
// backup does.
func (w *world) closesTheLost(g *gateway, have, r model.Route) {
	if r.State != model.RouteClosed || r.Deleted || have.State != model.RouteServing {
		return
	}
	s := w.view.containers[r.Org+"/"+r.Container]
	if s == nil || s.container == nil || !w.quiet[s.key] || s.container.Teardown != nil || s.container.Status == model.Stopped {
		return
	}
	for _, h := range w.hosts {
		if e := h.enclaves[have.Enclave]; e != nil && e.orphan && e.state == model.EnclaveHealthy && !h.forgotten {
			w.violate("restore", "gateway %s closes %s, which leads to %s of the time that was lost, before anything else serves", g.name, r.Domain, e.id)
		}
	}
}

// drainLong has a replace hold the route while connections drain.
var drainLong = &cv1.UpdateOptions{DrainTimeout: durationpb.New(5 * time.Minute)}

// giveUp forgets a host by force as soon as a coordinator is there, before the host
// has said anything; it is added again later.
func giveUp(w *world, host string) {
	if w.putting != nil || len(w.coords) == 0 {
		w.later(100*time.Millisecond, func() { giveUp(w, host) })
		return
	}
	w.submit(w.forgets(host, true))
	w.later(time.Minute, func() { w.submit(w.adds(host)) })
}

// restores are stories in which the backup of before the update is restored.
var restores = []story{
	{name: "restored after the update", repo: "one", backup: true, at: model.StepDone, does: (*world).restore},
	{name: "restored after an update that failed, and updated again", repo: "one", backup: true, destiny: diesBooting, at: model.StepDone, does: func(w *world) {
		w.restore()
		w.later(30*time.Minute, func() { w.submit(w.updates("api", "v2", nil, false)) })
	}},
	{name: "restored after the update, and the host of the backup's version given up", repo: "eight", hosts: 2, backup: true, at: model.StepDone, does: func(w *world) {
		w.restore()
		giveUp(w, w.hosts[0].name)
	}},
	{name: "restored while the old version drains", repo: "one", backup: true, at: model.StepDrain, does: (*world).restore},
	{name: "restored while the route is held", repo: "eight", backup: true, options: drainLong, at: model.StepDrain, does: (*world).restore},
	{name: "restored while the old version stops", repo: "eight", backup: true, at: model.StepStopOld, does: (*world).restore},
	{name: "restored while the new version boots", repo: "eight", backup: true, at: model.StepBoot, does: (*world).restore},
}

// TestOldBackupsAreRestored tells what docs/restore.md promises of containers that
// were updated since the backup.
func TestOldBackupsAreRestored(t *testing.T) {
	for _, s := range restores {
		t.Run(s.name, func(t *testing.T) {
			_, out, _ := tell(t, s, "", 0, true)
			trace := strings.Join(out.trace, "\n")
			if out.violation != nil {
				t.Fatalf("%s: %s\n%s", out.violation.invariant, out.violation.text, trace)
			}
			if !strings.Contains(trace, "the backup is restored") {
				t.Errorf("no backup was restored:\n%s", trace)
			}
		})
	}
}

// do does something, and lets time pass.
func (w *world) do(f func(), d time.Duration) {
	w.mu.Lock()
	f()
	w.mu.Unlock()
	w.pass(d)
}

// TestTwoLossesAfterARestoreCloseNothing: one version is left over on a host that is
// given up after the restore, and the one of the backup was stopped in the time that
// was lost. What was switched to meanwhile serves on.
func TestTwoLossesAfterARestoreCloseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(plot{seed: 3, verbose: true}, memory.New(memory.Config{}))
		w.hosts, w.tame = w.hosts[:3], true
		w.found()
		w.pass(10 * time.Second)
		w.do(func() {
			w.submit(w.creates("api", &cv1.ContainerSpec{Repository: repository("eight"), Tag: "v1", Domain: domain("api")}))
		}, 4*time.Minute)
		w.do(func() {
			h := w.host(w.view.containers["acme/api"].container.Active.Host)
			h.linked = false
			h.lost()
			w.submit(w.updates("api", "v2", nil, false))
		}, 30*time.Minute)
		var left string
		w.do(func() {
			c := w.view.containers["acme/api"].container
			if len(c.Leftovers) != 1 || c.Update != "" {
				t.Fatalf("%+v has no version left over\n%s", c, strings.Join(w.trace, "\n"))
			}
			left = c.Leftovers[0].Host
			w.takeBackup()
			w.submit(w.updates("api", "v3", nil, false))
		}, 10*time.Minute)
		w.do(func() { w.restore(); giveUp(w, left) }, 30*time.Minute)
		w.settle()
		w.end()
		if v := w.violation; v != nil {
			t.Fatalf("%s: %s\n%s", v.invariant, v.text, strings.Join(w.trace, "\n"))
		}
	})
}

// TestWhatAnAgentDeniesIsNotOfTheTimeThatWasLost: what had been told to stop before the
// backup runs on where an agent lies. A gateway that was away may still lead to it, and
// is right to close.
func TestWhatAnAgentDeniesIsNotOfTheTimeThatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(plot{seed: 3, verbose: true}, memory.New(memory.Config{}))
		w.hosts, w.tame = w.hosts[:1], true
		w.found()
		w.pass(10 * time.Second)
		h := w.hosts[0]
		w.do(func() {
			w.submit(w.creates("api", &cv1.ContainerSpec{Repository: repository("zero"), Tag: "v1", Domain: domain("api")}))
		}, 4*time.Minute)
		w.do(func() { h.liar = true; w.submit(w.updates("api", "v2", nil, false)) }, 6*time.Minute)
		w.do(w.takeBackup, time.Second)
		w.do(func() { w.submit(w.updates("api", "v3", nil, false)) }, 6*time.Minute)
		w.do(w.restore, 30*time.Minute)
		w.mu.Lock()
		for id, want := range map[string]bool{"c1-r1-1": false, "c1-r2-2": false, "c1-r3-3": true} {
			if e := h.enclaves[id]; e == nil || e.orphan != want {
				t.Errorf("%s is %+v, want that it is of the time that was lost: %v\n%s", id, e, want, strings.Join(w.trace, "\n"))
			}
		}
		w.mu.Unlock()
		w.settle()
		w.end()
		if v := w.violation; v != nil {
			t.Errorf("%s: %s\n%s", v.invariant, v.text, strings.Join(w.trace, "\n"))
		}
	})
}
