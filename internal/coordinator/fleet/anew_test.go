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
		if len(got) != 1 || got[0].Incarnation != "second" || got[0].State != model.EnclaveAbsent || got[0].Reason != reasonAnew {
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
