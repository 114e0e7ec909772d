package reaper

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

// hosts has one host with some enclaves and notes what it is told.
type hosts struct {
	enclaves         []*agentv1.Enclave
	silent           bool
	promises         map[string]model.Reservation
	stopped, deleted []string
	fail             error
}

func (h *hosts) Names() []string { return []string{"h1"} }

func (h *hosts) Enclaves(string) ([]*agentv1.Enclave, bool) { return h.enclaves, !h.silent }

func (h *hosts) Promises(string) map[string]model.Reservation { return h.promises }

func (h *hosts) Stop(_ context.Context, _, id string, _ time.Duration, _ string) (model.Observation, error) {
	h.stopped = append(h.stopped, id)
	return model.Observation{}, h.fail
}

func (h *hosts) Delete(_ context.Context, _, id string) error {
	h.deleted = append(h.deleted, id)
	return h.fail
}

func enclave(id string, state agentv1.EnclaveState, claimed bool) *agentv1.Enclave {
	return &agentv1.Enclave{Id: id, State: state, Claimed: claimed, Spec: &agentv1.EnclaveSpec{Org: "acme", Container: "api"}}
}

// world has one container, whose enclave c1-r1-1 serves on h1. It gave up on one
// on h1 and on another on h2.
func world(t *testing.T) *records.Records {
	t.Helper()
	return worldIn(t, memory.New(memory.Config{}))
}

func worldIn(t *testing.T, s store.Store) *records.Records {
	t.Helper()
	r, err := records.Open(t.Context(), s, func() string { return "cl" })
	if err != nil {
		t.Fatal(err)
	}
	c := &model.Container{Org: "acme", Name: "api", UID: "c1", Spec: model.ContainerSpec{Domain: "api.example"},
		Status: model.Running, Active: &model.EnclaveRef{ID: "c1-r1-1", Host: "h1"},
		Leftovers: []model.EnclaveRef{{ID: "c1-r0-0", Host: "h1"}, {ID: "c1-r0-1", Host: "h2"}}}
	l, err := r.NewContainer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Save(t.Context(), l, engine.State{Container: c, Route: l.Route}, nil, records.Extra{}); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOnlyTheUnwantedAreReapedAndOnlyAfterTheirGrace(t *testing.T) {
	const (
		healthy  = agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY
		stopping = agentv1.EnclaveState_ENCLAVE_STATE_STOPPING
		stopped  = agentv1.EnclaveState_ENCLAVE_STATE_STOPPED
		failed   = agentv1.EnclaveState_ENCLAVE_STATE_FAILED
	)
	for _, tc := range []struct {
		rule             string
		enclave          *agentv1.Enclave
		passed           time.Duration
		stopped, deleted bool
	}{
		{"what serves is left alone", enclave("c1-r1-1", healthy, true), 24 * time.Hour, false, false},
		{"an orphan is left alone at first", enclave("c1-r9-9", healthy, true), 9 * time.Minute, false, false},
		{"an orphan is stopped after the grace time", enclave("c1-r9-9", healthy, true), 11 * time.Minute, true, false},
		{"what its container gave up on is stopped as soon as it is seen", enclave("c1-r0-0", healthy, true), 0, true, false},
		{"what was given up on another host has its grace time", enclave("c1-r0-1", healthy, true), 9 * time.Minute, false, false},
		{"what is stopping is not told again", enclave("c1-r9-9", stopping, true), 11 * time.Minute, false, false},
		{"what has ended keeps its log for a while", enclave("c1-r9-9", stopped, false), 59 * time.Minute, false, false},
		{"what has ended is forgotten then", enclave("c1-r9-9", failed, false), 61 * time.Minute, false, true},
		{"what has ended and holds a claim is not forgotten", enclave("c1-r9-9", failed, true), 61 * time.Minute, false, false},
		{"an enclave of a container that is gone is an orphan", &agentv1.Enclave{
			Id: "c2-r1-1", State: healthy, Claimed: true, Spec: &agentv1.EnclaveSpec{Org: "acme", Container: "gone"},
		}, 11 * time.Minute, true, false},
		{"names that can't be a container's are an orphan's", &agentv1.Enclave{
			Id: "c2-r1-1", State: healthy, Claimed: true, Spec: &agentv1.EnclaveSpec{Org: "a\x00b", Container: "c"},
		}, 11 * time.Minute, true, false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			h := &hosts{enclaves: []*agentv1.Enclave{tc.enclave}}
			now := time.Unix(1_700_000_000, 0)
			r := reaper(t, world(t), h, func() time.Time { return now })
			r.pass(t.Context())
			now = now.Add(tc.passed)
			r.pass(t.Context())
			if got := len(h.stopped) > 0; got != tc.stopped {
				t.Errorf("stopped = %v, want %v", got, tc.stopped)
			}
			if got := len(h.deleted) > 0; got != tc.deleted {
				t.Errorf("deleted = %v, want %v", got, tc.deleted)
			}
		})
	}
}

// counted counts what is read of a store.
type counted struct {
	store.Store
	reads int
}

func (c *counted) Get(ctx context.Context, key string) (store.KV, error) {
	c.reads++
	return c.Store.Get(ctx, key)
}

func TestTheContainerOfWhatIsOnlyKeptForItsLogIsNotReadAgain(t *testing.T) {
	s := &counted{Store: memory.New(memory.Config{})}
	h := &hosts{enclaves: []*agentv1.Enclave{enclave("c1-r9-9", agentv1.EnclaveState_ENCLAVE_STATE_STOPPED, false)}}
	now := time.Unix(1_700_000_000, 0)
	r := reaper(t, worldIn(t, s), h, func() time.Time { return now })
	r.pass(t.Context())
	reads := s.reads
	for range 10 {
		now = now.Add(time.Minute)
		r.pass(t.Context())
	}
	if s.reads != reads {
		t.Errorf("%d reads in ten passes over an enclave that is kept for its log, want none", s.reads-reads)
	}
	now = now.Add(time.Hour)
	r.pass(t.Context())
	if s.reads == reads || len(h.deleted) != 1 {
		t.Errorf("%d reads, deleted %v: want that it is looked at once more, and forgotten", s.reads-reads, h.deleted)
	}
}

func TestWhatWasGivenUpAndIsNotListedIsDisowned(t *testing.T) {
	given := func(id string) map[string]model.Reservation {
		return map[string]model.Reservation{id: {Org: "acme", Container: "api", Enclave: id, Host: "h1"}}
	}
	for _, tc := range []struct {
		rule    string
		hosts   hosts
		stopped []string
	}{
		{"its host is told to stop it, so that no late creation brings it to life", hosts{promises: given("c1-r0-0")}, []string{"c1-r0-0"}},
		{"one that is listed is stopped as what it is", hosts{
			promises: given("c1-r0-0"), enclaves: []*agentv1.Enclave{enclave("c1-r0-0", agentv1.EnclaveState_ENCLAVE_STATE_STOPPED, false)},
		}, nil},
		{"one that its container does not name is left alone", hosts{promises: given("c1-r7-7")}, nil},
		{"a host that has not told of all it has is not asked", hosts{silent: true, promises: given("c1-r0-0")}, nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			r := reaper(t, world(t), &tc.hosts, time.Now)
			r.pass(t.Context())
			if !slices.Equal(tc.hosts.stopped, tc.stopped) {
				t.Errorf("stopped %v, want %v", tc.hosts.stopped, tc.stopped)
			}
		})
	}
}

func reaper(t *testing.T, rec *records.Records, h *hosts, now func() time.Time) *Reaper {
	t.Helper()
	r, err := New(Config{
		Log: slog.New(slog.DiscardHandler), Records: rec, Hosts: h, Every: time.Minute,
		Grace: 10 * time.Minute, Keep: time.Hour, StopGrace: time.Minute, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAHostThatHasNotToldEverythingIsLeftAlone(t *testing.T) {
	h := &hosts{enclaves: []*agentv1.Enclave{enclave("c1-r9-9", agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY, true)}, silent: true}
	now := time.Unix(1_700_000_000, 0)
	r := reaper(t, world(t), h, func() time.Time { return now })
	for range 3 {
		r.pass(t.Context())
		now = now.Add(time.Hour)
	}
	if len(h.stopped) > 0 {
		t.Error("stopped an enclave on a host that had not told everything")
	}
}

func TestRunPassesUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{enclaves: []*agentv1.Enclave{enclave("c1-r9-9", agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY, true)}, fail: errors.New("busy")}
		r := reaper(t, world(t), h, time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute+time.Second)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		// From the grace time on, every pass tells it again: the first was refused.
		if want := slices.Repeat([]string{"c1-r9-9"}, 10); !slices.Equal(h.stopped, want) {
			t.Errorf("told %d times, want %d", len(h.stopped), len(want))
		}
	})
}

func TestWhatRoomIsPromisedToIsLeftAloneWithoutALookAtItsContainer(t *testing.T) {
	promise := model.Reservation{Org: "acme", Container: "api", Enclave: "c1-r9-9", Host: "h1", Room: model.Room{CPUs: 1}}
	h := &hosts{
		enclaves: []*agentv1.Enclave{enclave("c1-r9-9", agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY, true)},
		promises: map[string]model.Reservation{promise.Enclave: promise},
	}
	now := time.Unix(1_700_000_000, 0)
	r := reaper(t, world(t), h, func() time.Time { return now })
	r.pass(t.Context())
	now = now.Add(time.Hour)
	r.pass(t.Context())
	if len(h.stopped) > 0 {
		t.Fatalf("stopped %v, to which room is promised", h.stopped)
	}
	h.promises = nil
	r.pass(t.Context())
	now = now.Add(11 * time.Minute)
	r.pass(t.Context())
	if !slices.Equal(h.stopped, []string{promise.Enclave}) {
		t.Errorf("stopped %v once the promise was withdrawn and its grace time had passed, want %s", h.stopped, promise.Enclave)
	}
}
