package fleet

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func TestAHostThatWasSetUpAnewIsNotTakenForTheOneBefore(t *testing.T) {
	a := newAgent()
	a.together = true
	a.host.Incarnation = "first"
	a.enclaves["e1"] = enclave("e1", healthy, true)
	bubble(t, a, func(t *testing.T, f *Fleet, h *heard) {
		f.Promise(promise("e1", 1, ""))
		called := func() string {
			t.Helper()
			if _, err := f.Stop(t.Context(), "h1", "e9", time.Minute, "why"); err != nil {
				t.Fatal(err)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.fences[len(a.fences)-1].GetIncarnation()
		}
		if got := h.take(); len(got) != 1 || got[0].Incarnation != "first" {
			t.Errorf("heard %+v, want the word of the first incarnation", got)
		}
		if got := called(); f.Incarnation("h1") != "first" || got != "first" {
			t.Errorf("incarnation %q is known, and called %q", f.Incarnation("h1"), got)
		}
		if _, text := status(t, f); text != "" {
			t.Errorf("the host says %q, and nothing has happened", text)
		}
		a.down()
		a.mu.Lock()
		if got := a.fences[0].GetIncarnation(); got != "" {
			t.Errorf("the watch is for incarnation %q, want any", got)
		}
		a.host.Incarnation = "second"
		delete(a.enclaves, "e1")
		a.mu.Unlock()
		a.serve()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		got := h.take()
		if len(got) != 1 || got[0].Incarnation != "second" || got[0].State != model.EnclaveAbsent || !got[0].Anew || got[0].Since.IsZero() {
			t.Errorf("heard %+v, want that e1 is not on the second incarnation, and why", got)
		}
		if got := called(); got != "second" {
			t.Errorf("incarnation %q is called", got)
		}
		if s, text := status(t, f); s != Ready || !strings.Contains(text, "set up anew") {
			t.Errorf("the host is %s and says %q, want that it was set up anew", s, text)
		}
	})
}

func TestThatAHostWasSetUpAnewOutlivesTheCoordinator(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		rule   string
		before model.Machine
		anew   bool
		since  func(found time.Time) time.Time
	}{
		{"a host that is heard of for the first time", model.Machine{}, false, func(time.Time) time.Time { return time.Time{} }},
		{"the same host as before", model.Machine{Incarnation: "second"}, false, func(time.Time) time.Time { return time.Time{} }},
		{"the coordinator before has not found it out", model.Machine{Incarnation: "first"}, true, func(found time.Time) time.Time { return found }},
		{"the coordinator before has found it out", model.Machine{Incarnation: "second", Anew: at}, true, func(time.Time) time.Time { return at }},
		{"it was set up anew once more", model.Machine{Incarnation: "first", Anew: at}, true, func(found time.Time) time.Time { return found }},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			a := newAgent()
			a.together = true
			a.host.Incarnation = "second"
			machines := &noted{machines: map[string]model.Machine{"h1": tc.before}}
			synctest.Test(t, func(t *testing.T) {
				f, h := joinedTo(t, a, machines)
				if got := f.Incarnation("h1"); got != tc.before.Incarnation {
					t.Errorf("calls are for incarnation %q before it has answered, want %q", got, tc.before.Incarnation)
				}
				f.Promise(promise("e1", 1, ""))
				synctest.Wait()
				since := tc.since(time.Now().UTC())
				got := h.take()
				if len(got) != 1 || got[0].State != model.EnclaveAbsent || got[0].Anew != tc.anew || !got[0].Since.Equal(since) || got[0].Incarnation != "second" {
					t.Errorf("heard %+v, want that e1 is not there, set up anew: %v, since %s", got, tc.anew, since)
				}
				if m := machines.of("h1"); m.Incarnation != "second" || !m.Anew.Equal(since) {
					t.Errorf("on record is %+v, want the second incarnation, anew since %s", m, since)
				}
			})
		})
	}
}

func TestAHostIsNotBelievedBeforeItIsOnRecordWhichOneItIs(t *testing.T) {
	a := newAgent()
	a.together = true
	a.host.Incarnation = "first"
	synctest.Test(t, func(t *testing.T) {
		f, h := joinedTo(t, a, &noted{full: true})
		f.Promise(promise("e1", 1, ""))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s, text := status(t, f); s != Unreachable || text != errNotNoted.Error() {
			t.Errorf("the host is %s (%s), want UNREACHABLE because of the disk", s, text)
		}
		if got := h.take(); len(got) != 0 {
			t.Errorf("heard %+v of a host that is not on record", got)
		}
	})
}
