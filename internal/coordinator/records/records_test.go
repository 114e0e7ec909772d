package records

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

var (
	api = model.ContainerKey{Org: "acme", Name: "api"}
	t0  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func open(t *testing.T, s store.Store) *Records {
	t.Helper()
	r, err := Open(t.Context(), s, func() string { return "cluster-1" })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fresh(t *testing.T) *Records {
	t.Helper()
	return open(t, memory.New(memory.Config{}))
}

func container(name, domain string) *model.Container {
	return &model.Container{
		Org: "acme", Name: name, UID: "uid-" + name, Status: model.Deploying,
		Spec: model.ContainerSpec{Repository: "r", Tag: "v1", Domain: domain}, Created: t0,
	}
}

// created commits a new container in which update number 1 is in progress.
func created(t *testing.T, r *Records) *Loaded {
	t.Helper()
	l, err := r.NewContainer(t.Context(), container("api", "api.example"))
	if err != nil {
		t.Fatal(err)
	}
	next := l.State
	next.Container.Update, next.Container.LastUpdate, next.Container.Updates = "api-u1", "api-u1", 1
	next.Update = update(1)
	next.Reservations = map[string]model.Reservation{"e1": {Enclave: "e1", Host: "h1", Org: "acme", Container: "api", Room: model.Room{GPUs: 2}}}
	l, err = r.Save(t.Context(), l, next, []model.Event{{Reason: "UPDATE_STARTED", Time: t0}}, Extra{Revision: &model.Revision{Number: 1, Tag: "v1"}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func update(n int64) *model.Update {
	return &model.Update{
		ID: fmt.Sprintf("api-u%d", n), Number: n, Org: "acme", Container: "api", Status: model.Pending, Step: model.StepPrepare,
		New:     model.EnclaveRef{ID: fmt.Sprintf("e%d", n), Host: "h1"},
		History: []model.StepRecord{{Step: model.StepPrepare, Entered: t0}}, Deadline: t0.Add(time.Hour),
	}
}

func save(t *testing.T, r *Records, l *Loaded, change func(*engine.State)) *Loaded {
	t.Helper()
	next := l.State
	next.Container = l.Container.Clone()
	change(&next)
	out, err := r.Save(t.Context(), l, next, nil, Extra{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func loaded(t *testing.T, r *Records) *Loaded {
	t.Helper()
	l, err := r.Load(t.Context(), api)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	r := fresh(t)
	saved := created(t, r)
	got := loaded(t, r)
	if diff := cmp.Diff(saved.State, got.State); diff != "" {
		t.Errorf("saved (-) and loaded (+) differ:\n%s", diff)
	}
	if got.ContainerRevision == 0 || got.ContainerRevision != saved.ContainerRevision || got.UpdateRevision != saved.UpdateRevision {
		t.Errorf("etags %d and %d, saved as %d and %d", got.ContainerRevision, got.UpdateRevision, saved.ContainerRevision, saved.UpdateRevision)
	}
	k, err := r.ByUID(t.Context(), "uid-api")
	if err != nil || k != api {
		t.Errorf("by uid: %v, %v; want %v", k, err, api)
	}
	rev, err := r.Revision(t.Context(), api, 1)
	if err != nil || rev.Tag != "v1" {
		t.Errorf("revision 1: %+v, %v", rev, err)
	}
	// What was saved can be saved on: its etags are those of the store.
	save(t, r, saved, func(s *engine.State) { s.Container.Text = "more" })
}

func TestOnlyWhatDiffersIsWritten(t *testing.T) {
	r := fresh(t)
	l := created(t, r)
	out := save(t, r, l, func(s *engine.State) { s.Container.Text = "changed" })
	if out.ContainerRevision == l.ContainerRevision {
		t.Error("the container's etag did not change with it")
	}
	if out.UpdateRevision != l.UpdateRevision {
		t.Error("the update's etag changed although it did not")
	}
}

func TestTheFirstOfTwoWritersWins(t *testing.T) {
	r := fresh(t)
	created(t, r)
	for _, tc := range []struct {
		record string
		change func(*engine.State)
	}{
		{"container", func(s *engine.State) { s.Container.Text = "x" }},
		{"update", func(s *engine.State) { u := *s.Update; u.Text = "x"; s.Update = &u }},
		{"route", func(s *engine.State) { x := *s.Route; x.Generation++; s.Route = &x }},
		{"reservation", func(s *engine.State) { s.Reservations = nil }},
	} {
		a, b := loaded(t, r), loaded(t, r)
		save(t, r, a, tc.change)
		next := b.State
		next.Container = b.Container.Clone()
		next.Container.Reason = "other"
		if _, err := r.Save(t.Context(), b, next, nil, Extra{}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a writer who did not see the change of the %s: %v, want a conflict", tc.record, err)
		}
	}
}

func TestAnEndedUpdateIsKeptButNotLoaded(t *testing.T) {
	r := fresh(t)
	l := created(t, r)
	l = save(t, r, l, func(s *engine.State) {
		s.Container.Update = ""
		u := *s.Update
		u.Status = model.Succeeded
		s.Update = &u
	})
	if l.Update != nil || loaded(t, r).Update != nil {
		t.Error("an ended update is still in the state")
	}
	item, err := r.Update(t.Context(), api, "api-u1")
	if err != nil || item.Value.Status != model.Succeeded {
		t.Errorf("history has %+v, %v; want it succeeded", item.Value, err)
	}
}

func TestNamesOfUpdates(t *testing.T) {
	r := fresh(t)
	created(t, r)
	for id, found := range map[string]bool{
		"api-u1": true, "api-u2": false, "api-u01": false, "api-u+1": false, "api-u0": false, "api-u-1": false,
		"api-u": false, "other-u1": false, "": false, "api-u1x": false, "api-u99999999999999999999": false,
	} {
		_, err := r.Update(t.Context(), api, id)
		if (err == nil) != found || err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("update %q: %v, want found = %v", id, err, found)
		}
	}
}

func TestTheNameAndTheDomainAreTakenOnce(t *testing.T) {
	r := fresh(t)
	ctx := t.Context()
	first, err := r.NewContainer(ctx, container("api", "api.example"))
	if err != nil {
		t.Fatal(err)
	}
	sameName, err := r.NewContainer(ctx, container("api", "other.example"))
	if err != nil {
		t.Fatal(err)
	}
	sameDomain, err := r.NewContainer(ctx, container("web", "api.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Save(ctx, first, first.State, nil, Extra{}); err != nil {
		t.Fatal(err)
	}
	for what, l := range map[string]*Loaded{"name": sameName, "domain": sameDomain} {
		if _, err := r.Save(ctx, l, l.State, nil, Extra{}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a second container of that %s: %v, want a conflict", what, err)
		}
	}
	var taken *DomainTakenError
	if _, err := r.NewContainer(ctx, container("web", "api.example")); !errors.As(err, &taken) || taken.Domain != "api.example" {
		t.Errorf("got %v, want that the domain is taken", err)
	}
}

func deleted(t *testing.T, r *Records) int64 {
	t.Helper()
	l := loaded(t, r)
	next := l.State
	next.Deleted = true
	route := *l.Route
	route.Deleted, route.Generation = true, route.Generation+1
	next.Route, next.Update = &route, nil
	if _, err := r.Save(t.Context(), l, next, nil, Extra{}); err != nil {
		t.Fatal(err)
	}
	return route.Generation
}

func TestDeletionLeavesTheGenerationOnly(t *testing.T) {
	r := fresh(t)
	created(t, r)
	generation := deleted(t, r)
	page, err := r.Store().List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, kv := range page.KVs {
		left = append(left, kv.Key)
	}
	if want := []string{clusterKey, epochKey, RouteKey("api.example")}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
	l, err := r.NewContainer(t.Context(), container("web", "api.example"))
	if err != nil {
		t.Fatalf("the domain can't be used again: %v", err)
	}
	if l.Route.Generation <= generation {
		t.Errorf("generation %d after %d: it went back", l.Route.Generation, generation)
	}
	if _, err := r.Save(t.Context(), l, l.State, nil, Extra{}); err != nil {
		t.Errorf("the domain's new container: %v", err)
	}
}

func count(t *testing.T, r *Records, prefix string) int {
	t.Helper()
	page, err := r.Store().List(t.Context(), prefix, store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.KVs)
}

func TestThePastIsBounded(t *testing.T) {
	r := fresh(t)
	l := created(t, r)
	for n := int64(2); n <= 120; n++ {
		next := l.State
		next.Container = l.Container.Clone()
		next.Container.Active = &model.EnclaveRef{ID: "e1", Revision: 1}
		next.Container.Update, next.Container.Updates = fmt.Sprintf("api-u%d", n), n
		next.Update = update(n)
		log := []model.Event{{Reason: "A", Time: t0}, {Reason: "B", Time: t0}, {Reason: "C", Time: t0}}
		var err error
		if l, err = r.Save(t.Context(), l, next, log, Extra{Revision: &model.Revision{Number: n}}); err != nil {
			t.Fatal(err)
		}
		l = save(t, r, l, func(s *engine.State) {
			u := *s.Update
			u.Status, s.Container.Update = model.UpdateFailed, ""
			s.Update = &u
		})
	}
	if n := count(t, r, UpdatesOf(api)); n != keptUpdates {
		t.Errorf("%d updates are kept, want %d", n, keptUpdates)
	}
	if n := count(t, r, EventsOf(api)); n != keptEvents {
		t.Errorf("%d events are kept, want %d", n, keptEvents)
	}
	if n := count(t, r, revisionsOf(api)); n != keptRevisions+1 {
		t.Errorf("%d revisions are kept, want %d and the one that serves", n, keptRevisions)
	}
	if _, err := r.Revision(t.Context(), api, 1); err != nil {
		t.Errorf("the revision that serves was forgotten: %v", err)
	}
	deleted(t, r)
	if n := count(t, r, RevisionPrefix) + count(t, r, UpdatePrefix) + count(t, r, EventPrefix); n != 0 {
		t.Errorf("%d records of the past are left after the deletion", n)
	}
}

func TestEpochsFenceWhoCameBefore(t *testing.T) {
	s := memory.New(memory.Config{})
	first := open(t, s)
	l := created(t, first)
	second := open(t, s)
	if second.Epoch != first.Epoch+1 || second.ClusterID != first.ClusterID {
		t.Errorf("epoch %d of %s follows %d of %s", second.Epoch, second.ClusterID, first.Epoch, first.ClusterID)
	}
	if _, err := first.Save(t.Context(), l, l.State, nil, Extra{}); !errors.Is(err, ErrFenced) {
		t.Errorf("the one before writes: %v, want ErrFenced", err)
	}
	if _, err := first.Commit(t.Context(), nil, []store.Op{store.Put("x", nil)}); !errors.Is(err, ErrFenced) {
		t.Errorf("the one before commits: %v, want ErrFenced", err)
	}
	save(t, second, loaded(t, second), func(s *engine.State) { s.Container.Text = "mine" })
}

func TestTwoTakeOversAtOnceGetTwoEpochs(t *testing.T) {
	s := memory.New(memory.Config{})
	got := make(chan int64, 8)
	for range 8 {
		go func() {
			r, err := Open(context.Background(), s, func() string { return "c" })
			if err != nil {
				t.Error(err)
				got <- 0
				return
			}
			got <- r.Epoch
		}()
	}
	seen := map[int64]bool{}
	for range 8 {
		seen[<-got] = true
	}
	if len(seen) != 8 {
		t.Errorf("epochs %v are not eight", seen)
	}
}

func TestADamagedRecordIsNamed(t *testing.T) {
	r := fresh(t)
	created(t, r)
	if _, err := r.Commit(t.Context(), nil, []store.Op{store.Put(ContainerKey(api), []byte(`{"kind":"route","v":1,"data":{}}`))}); err != nil {
		t.Fatal(err)
	}
	_, err := r.Load(t.Context(), api)
	if err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want an error about the record", err)
	}
}

// TestAMissingRouteIsNoMissingContainer: only a missing container record means
// that there is no container.
func TestAMissingRouteIsNoMissingContainer(t *testing.T) {
	for _, key := range []string{RouteKey("api.example"), "updates/acme/api/0000000001"} {
		r := fresh(t)
		created(t, r)
		if _, err := r.Commit(t.Context(), nil, []store.Op{store.Delete(key)}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Load(t.Context(), api); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("without %s: %v, want an error that is not ErrNotFound", key, err)
		}
	}
}

func TestOldRequestsAreSwept(t *testing.T) {
	r := fresh(t)
	for i := range 1200 {
		op, err := Put(Requests, RequestKey("acme", fmt.Sprintf("r%04d", i)), model.Request{Method: "m", Time: t0.Add(time.Duration(i) * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Commit(t.Context(), nil, []store.Op{op}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.SweepRequests(t.Context(), t0.Add(1000*time.Second)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, r, RequestPrefix); n != 200 {
		t.Errorf("%d requests are left, want the 200 young ones", n)
	}
}

func TestARestoredStoreIsPastAllThatCameAfterItsBackup(t *testing.T) {
	s := memory.New(memory.Config{})
	id := func() string { return "cl" }
	first, err := Open(t.Context(), s, id)
	if err != nil {
		t.Fatal(err)
	}
	restored := s.Restored()
	var last *Records
	for range 50 { // took over since
		if last, err = Open(t.Context(), s, id); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(t.Context(), restored, id)
	if err != nil {
		t.Fatal(err)
	}
	if first.Restored != 0 || again.Restored == 0 || again.Epoch <= last.Epoch {
		t.Errorf("epoch %d after the restore, %d before", again.Epoch, last.Epoch)
	}
	next, err := Open(t.Context(), restored, id)
	if err != nil || next.Epoch != again.Epoch+1 {
		t.Errorf("epoch %d, %v follows %d", next.Epoch, err, again.Epoch)
	}
	twice, err := Open(t.Context(), restored.Restored(), id)
	if err != nil || twice.Epoch <= next.Epoch+1000 {
		t.Errorf("epoch %d, %v of a store restored twice follows %d", twice.Epoch, err, next.Epoch)
	}
}
