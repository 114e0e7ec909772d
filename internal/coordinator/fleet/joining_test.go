package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// unheard says whether h1 may yet offer room that nobody knows of.
func unheard(f *Fleet) bool { return f.Plan()[0][0].Joining }

func TestAHostIsWaitedForUntilItHasAnswered(t *testing.T) {
	a := newAgent()
	hold := make(chan struct{})
	synctest.Test(t, func(t *testing.T) {
		hold = make(chan struct{})
		a.holdEnclaves = hold
		f, _ := joined(t, a)
		synctest.Wait()
		if !unheard(f) {
			t.Error("a host that has not answered yet is not waited for")
		}
		if err := f.Add(model.Host{Name: "h1", Cordoned: true}); err != nil {
			t.Fatal(err)
		}
		if h := f.Plan()[0][0]; h.Joining || h.Down != "cordoned" {
			t.Errorf("a cordoned host is waited for (%v) and %q, want that it is cordoned", h.Joining, h.Down)
		}
		if err := f.Add(model.Host{Name: "h1"}); err != nil {
			t.Fatal(err)
		}
		close(hold)
		synctest.Wait()
		if s, _ := status(t, f); s != Ready || unheard(f) {
			t.Errorf("the host is %s and waited for (%v), want READY and known", s, unheard(f))
		}
		a.down()
		synctest.Wait()
		if unheard(f) {
			t.Error("a host that was lost is waited for")
		}
		a.serve() // for the end of the test
	})
}

func TestAHostThatConnectsAndTellsNothingIsNotWaitedForForEver(t *testing.T) {
	a := newAgent()
	hold := make(chan struct{})
	synctest.Test(t, func(t *testing.T) {
		hold = make(chan struct{})
		a.holdEnclaves = hold
		f, h := joined(t, a)
		f.Promise(promise("e1", 1, ""))
		time.Sleep(tellPatience - time.Second)
		synctest.Wait()
		if s, _ := status(t, f); s != Joining || !unheard(f) {
			t.Errorf("the host is %s before its time to tell what it has is over, want JOINING", s)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s, text := status(t, f); s != Unreachable || text != errTellsNothing.Error() || unheard(f) {
			t.Errorf("the host is %s (%s), want UNREACHABLE because it tells nothing", s, text)
		}
		time.Sleep(2 * tellPatience)
		synctest.Wait()
		if n, _ := silences(t, h); n != 1 {
			t.Errorf("its silence is told %d times, want once", n)
		}
		close(hold)
		time.Sleep(2 * tellPatience)
		synctest.Wait()
		if s, _ := status(t, f); s != Ready {
			t.Errorf("the host is %s after it has told what it has, want READY", s)
		}
	})
}
