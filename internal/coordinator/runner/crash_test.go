package runner

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
)

// doomed makes a rig crash at the n-th point: before or after a commit, or at a
// call to a host or gateway. Points after it are not counted until it is back.
type doomed struct {
	*rig
	points int
	at     int
	where  string
}

func (d *doomed) point(where string) error {
	d.hosts.mu.Lock()
	d.points++
	hit := d.points == d.at
	d.hosts.mu.Unlock()
	if !hit {
		return nil
	}
	d.where = where
	d.crash()
	return errors.New("the process is gone")
}

func (d *doomed) arm(at int) {
	d.at = at
	d.disk.set(func() error { return d.point("before a commit") }, func() error { return d.point("after a commit") })
	d.hosts.mu.Lock()
	d.hosts.onCall = func(what string) { _ = d.point("at " + what) }
	d.hosts.mu.Unlock()
}

// recover starts a new coordinator over what is left, if the old one crashed.
func (d *doomed) recover() {
	if d.where == "" {
		return
	}
	d.disk.set(nil, nil)
	d.runner.Wait()
	d.start()
}

// TestACrashAnywhereChangesNothing crashes the coordinator at every point of an
// update, one after the other: the one that follows brings it to the same end.
func TestACrashAnywhereChangesNothing(t *testing.T) {
	type scenario struct {
		name   string
		event  func() engine.Event
		status model.ContainerStatus
		tag    string
	}
	for _, sc := range []scenario{
		{"blue-green", func() engine.Event { return startEvent(model.BlueGreen, 2, model.UpdateOptions{}) }, model.Running, "v2"},
		{"replace", func() engine.Event { return startEvent(model.Replace, 2, model.UpdateOptions{}) }, model.Running, "v2"},
		{"stop", func() engine.Event { return engine.Stop{Kind: model.TeardownStop} }, model.Stopped, ""},
	} {
		t.Run(sc.name, func(t *testing.T) {
			crashes := 0
			for at := 1; ; at++ {
				crashed := false
				synctest.Test(t, func(t *testing.T) {
					d := &doomed{rig: deployed(t)}
					d.arm(at)
					err := d.ask(sc.event())
					d.pass(time.Minute)
					crashed = d.where != ""
					d.recover()
					if crashed && err != nil && d.state().Container.Teardown == nil && d.state().Container.LastUpdate == "api-u1" && d.state().Container.Status == model.Running {
						// It was never committed: the user asks again.
						d.must(sc.event())
					}
					d.pass(5 * time.Minute)
					ended := model.Succeeded
					d.wants(sc.status, sc.tag, ended)
					if t.Failed() {
						t.Fatalf("after a crash at point %d, %s", at, d.where)
					}
				})
				if t.Failed() || !crashed {
					break
				}
				crashes++
			}
			if crashes < 8 {
				t.Errorf("crashed at %d points only", crashes)
			}
			t.Logf("%d crash points", crashes)
		})
	}
}

// TestStoreFaults lets the n-th commit fail, with and without having been
// applied: nothing is lost, late or done twice.
func TestStoreFaults(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for _, strategy := range []model.Strategy{model.BlueGreen, model.Replace} {
			t.Run(fmt.Sprintf("%s applied=%v", strategy, applied), func(t *testing.T) {
				for at := 1; ; at++ {
					hit := false
					synctest.Test(t, func(t *testing.T) {
						r := deployed(t)
						n := 0
						fail := func() error {
							if n++; n == at {
								hit = true
								return store.ErrIO
							}
							return nil
						}
						if applied {
							r.disk.set(nil, fail)
						} else {
							r.disk.set(fail, nil)
						}
						err := r.ask(startEvent(strategy, 2, model.UpdateOptions{}))
						if err != nil && !applied {
							r.must(startEvent(strategy, 2, model.UpdateOptions{}))
						}
						r.pass(3 * time.Minute)
						r.wants(model.Running, "v2", model.Succeeded)
						if t.Failed() {
							t.Fatalf("after commit %d failed", at)
						}
					})
					if t.Failed() || !hit {
						break
					}
				}
			})
		}
	}
}

func TestAFullDiskOnlyDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		r.must(startEvent(model.BlueGreen, 2, model.UpdateOptions{}))
		r.disk.set(func() error { return store.ErrFull }, nil)
		r.pass(10 * time.Minute)
		if err := r.ask(engine.Stop{Kind: model.TeardownStop}); !errors.Is(err, store.ErrFull) {
			t.Errorf("a stop that can't be kept: %v, want that the disk is full", err)
		}
		r.disk.set(nil, nil)
		r.pass(5 * time.Minute)
		r.wants(model.Running, "v2", model.Succeeded)
	})
}

func TestDeadlinesPassWithoutAnAnswer(t *testing.T) {
	for _, what := range []string{"Prepare", "Create", "Attest", "AwaitAck", "Drain", "AwaitFree", "Stop"} {
		for _, strategy := range []model.Strategy{model.BlueGreen, model.Replace} {
			t.Run(fmt.Sprintf("%s %s", strategy, what), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := deployed(t)
					r.hosts.silent[what] = true
					r.must(startEvent(strategy, 2, model.UpdateOptions{}))
					r.pass(2 * time.Hour)
					if u := r.last(); !u.Status.Ended() {
						t.Errorf("the update is still %s in %s", u.Status, u.Step)
					}
				})
			})
		}
	}
}
