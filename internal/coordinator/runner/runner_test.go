package runner

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

func TestUpdatesEndAsTheyShould(t *testing.T) {
	for _, tc := range []struct {
		rule     string
		strategy model.Strategy
		options  model.UpdateOptions
		faults   map[string][]error
		during   func(r *rig)
		status   model.ContainerStatus
		tag      string
		ended    model.UpdateStatus
	}{
		{rule: "blue-green moves to the new version", strategy: model.BlueGreen, status: model.Running, tag: "v2", ended: model.Succeeded},
		{rule: "replace moves to the new version", strategy: model.Replace, status: model.Running, tag: "v2", ended: model.Succeeded},
		{
			rule: "calls without an answer are tried again", strategy: model.Replace,
			faults: map[string][]error{
				"Prepare": {errLost, errLost}, "Create": {errLost}, "Stop": {errLost, errLost, errLost}, "Attest": {errLost},
			},
			status: model.Running, tag: "v2", ended: model.Succeeded,
		}, {
			rule: "a refused claim goes to another host", strategy: model.BlueGreen,
			faults: map[string][]error{"Create": {errRefused}}, status: model.Running, tag: "v2", ended: model.Succeeded,
		}, {
			rule: "a claim refused twice fails the update and the old version serves on", strategy: model.BlueGreen,
			faults: map[string][]error{"Create": {errRefused, errRefused}}, status: model.Running, tag: "v1", ended: model.UpdateFailed,
		}, {
			rule: "no other host: the update fails", strategy: model.BlueGreen,
			faults: map[string][]error{"Create": {errRefused}, "Replan": {errRefused}}, status: model.Running, tag: "v1", ended: model.UpdateFailed,
		}, {
			rule: "rejected evidence fails the update", strategy: model.BlueGreen,
			faults: map[string][]error{"Attest": {errRefused}}, status: model.Running, tag: "v1", ended: model.UpdateFailed,
		}, {
			rule: "a failed replace leaves the container failed", strategy: model.Replace,
			faults: map[string][]error{"Attest": {errRefused}}, status: model.Failed, ended: model.UpdateFailed,
		}, {
			rule: "a failed replace brings the old version back if asked to", strategy: model.Replace,
			options: model.UpdateOptions{RestoreOnFailure: true},
			faults:  map[string][]error{"Attest": {errRefused}}, status: model.Running, tag: "v1", ended: model.UpdateFailed,
		}, {
			rule: "a held candidate that is accepted serves", strategy: model.BlueGreen, options: model.UpdateOptions{Hold: true},
			during: func(r *rig) { r.must(engine.Accept{ID: "api-u2"}) }, status: model.Running, tag: "v2", ended: model.Succeeded,
		}, {
			rule: "a held candidate that is cancelled goes", strategy: model.BlueGreen, options: model.UpdateOptions{Hold: true},
			during: func(r *rig) { r.must(engine.Cancel{ID: "api-u2", Reason: "CANCELLED", Text: "no"}) },
			status: model.Running, tag: "v1", ended: model.UpdateCancelled,
		}, {
			rule: "stop in the middle of an update stops both versions", strategy: model.BlueGreen, options: model.UpdateOptions{Hold: true},
			during: func(r *rig) { r.must(engine.Stop{Kind: model.TeardownStop}) }, status: model.Stopped, ended: model.UpdateCancelled,
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := deployed(t)
				if tc.faults != nil {
					r.hosts.faults = tc.faults
				}
				r.must(startEvent(tc.strategy, 2, tc.options))
				r.pass(time.Minute)
				if tc.during != nil {
					tc.during(r)
				}
				r.pass(5 * time.Minute)
				r.wants(tc.status, tc.tag, tc.ended)
			})
		})
	}
}

func (r *rig) must(ev engine.Event) {
	r.t.Helper()
	if err := r.ask(ev); err != nil {
		r.t.Fatalf("%T: %v", ev, err)
	}
	synctest.Wait()
}

func TestDeleteLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		r.must(engine.Stop{Kind: model.TeardownDelete})
		r.pass(time.Minute)
		if _, err := r.rec.Load(t.Context(), api); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("load after the deletion: %v, want not found", err)
		}
		r.quiet("")
		if err := r.create(); err != nil {
			t.Fatalf("the name can't be used again: %v", err)
		}
		r.pass(time.Minute)
		r.wants(model.Running, "v1", model.Succeeded)
	})
}

func TestRequestsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		var exists *ExistsError
		if err := r.create(); !errors.As(err, &exists) {
			t.Errorf("a second container of the name: %v, want that it exists", err)
		}
		r.must(startEvent(model.BlueGreen, 2, model.UpdateOptions{Hold: true}))
		refused(t, r.ask(startEvent(model.BlueGreen, 3, model.UpdateOptions{})), "UPDATE_IN_PROGRESS")
		refused(t, r.ask(engine.Accept{ID: "api-u2"}), "NOT_READY")
		refused(t, r.ask(engine.Cancel{ID: "api-u1"}), "UPDATE_NOT_ACTIVE")
		other := model.ContainerKey{Org: "acme", Name: "other"}
		_, err := r.runner.Do(t.Context(), other, func(context.Context, *records.Loaded) (engine.Event, records.Extra, error) {
			t.Error("asked about a container that does not exist")
			return engine.Tick{}, records.Extra{}, nil
		})
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown container: %v, want not found", err)
		}
	})
}

// TestARequestIdHasOneEffect: the second of two requests with the same id meets
// the compare on the request's record, is asked again, and sees it.
func TestARequestIdHasOneEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		key := records.RequestKey("acme", "req-1")
		seen := errors.New("seen")
		asked := 0
		start := func() error {
			_, err := r.runner.Do(t.Context(), api, func(ctx context.Context, l *records.Loaded) (engine.Event, records.Extra, error) {
				asked++
				if _, err := records.Get(ctx, r.rec, records.Requests, key); err == nil {
					return nil, records.Extra{}, seen
				}
				if asked == 1 {
					// Another coordinator thread records the id between look and commit.
					op, _ := records.Put(records.Requests, key, model.Request{Method: "m"})
					if _, err := r.rec.Commit(ctx, nil, []store.Op{op}); err != nil {
						t.Error(err)
					}
				}
				return startEvent(model.BlueGreen, 2, model.UpdateOptions{}), records.Extra{
					Revision: revision(2), Compares: []store.Compare{store.ModRevision(key, 0)},
				}, nil
			})
			return err
		}
		if err := start(); !errors.Is(err, seen) {
			t.Errorf("got %v, want that the request was seen", err)
		}
		if asked != 2 {
			t.Errorf("asked %d times, want 2", asked)
		}
		if u := r.state().Container.Update; u != "" {
			t.Errorf("update %s was started", u)
		}
	})
}

func TestAMissingConditionIsNotTriedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		_, err := r.runner.Do(t.Context(), api, func(context.Context, *records.Loaded) (engine.Event, records.Extra, error) {
			return startEvent(model.BlueGreen, 2, model.UpdateOptions{}), records.Extra{
				Revision: revision(2), Compares: []store.Compare{store.Exists("secrets/acme/gone")},
			}, nil
		})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) || conflict.Key != "secrets/acme/gone" {
			t.Errorf("got %v, want the conflict on the secret", err)
		}
	})
}

func TestAFencedEpochStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		old := r.runner
		if _, err := records.Open(t.Context(), r.disk.Store, func() string { return "never" }); err != nil {
			t.Fatal(err)
		}
		if err := r.ask(startEvent(model.BlueGreen, 2, model.UpdateOptions{})); !errors.Is(err, records.ErrFenced) && !errors.Is(err, ErrStopped) {
			t.Errorf("a write of a coordinator that was followed: %v, want that it is fenced", err)
		}
		old.Wait()
		if !errors.Is(context.Cause(r.ctx), records.ErrFenced) {
			t.Errorf("ended because of %v, want the fence", context.Cause(r.ctx))
		}
		if err := r.ask(engine.Tick{}); !errors.Is(err, ErrStopped) {
			t.Errorf("after the end: %v, want ErrStopped", err)
		}
		r.start()
		r.must(startEvent(model.BlueGreen, 2, model.UpdateOptions{}))
		r.pass(time.Minute)
		r.wants(model.Running, "v2", model.Succeeded)
	})
}

// TestAClockThatIsSetRightAfterTheStart: a machine without a clock of its own starts
// years back, and learns the time a little later.
func TestAClockThatIsSetRightAfterTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		r.must(startEvent(model.BlueGreen, 2, model.UpdateOptions{Hold: true}))
		r.pass(time.Hour)
		if u := r.state().Update; u == nil || u.Step != model.StepHold {
			t.Fatalf("the update is %+v, want it held", u)
		}
		r.stop()
		r.behind.Store(int64(20 * 365 * 24 * time.Hour))
		r.start()
		r.pass(time.Hour)
		r.behind.Store(0)
		r.pass(engine.DefaultLimits().Hold)
		if u := r.last(); u.Status != model.UpdateCancelled || u.Reason != "HOLD_EXPIRED" {
			t.Errorf("a day later the update is %s (%s), want that nobody accepted it", u.Status, u.Step)
		}
	})
}
