package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// silences counts words of silence, and wants nothing but the word on e1.
func silences(t *testing.T, h *heard) int {
	t.Helper()
	n := 0
	for _, s := range h.take() {
		if s.State != model.EnclaveSilent {
			continue
		}
		n++
		if s.Enclave != "e1" || s.Host != "h1" || s.Key != (model.ContainerKey{Org: "acme", Name: "api"}) {
			t.Errorf("heard %+v, want that nothing is heard of e1 on h1", s)
		}
	}
	return n
}

func TestLongSilenceIsToldToWhomRoomWasPromised(t *testing.T) {
	a := newAgent()
	bubble(t, a, func(t *testing.T, f *Fleet, h *heard) {
		f.Promise(promise("e1", 1, ""))
		after := func(d time.Duration, want int, when string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := silences(t, h); got != want {
				t.Errorf("%s silence is told %d times, want %d", when, got, want)
			}
		}
		after(10*patience, 0, "while the host answers")
		a.down()
		after(patience-10*time.Second, 0, "before its time")
		after(20*time.Second, 1, "at its time")
		after(patience+10*time.Second, 1, "as long again")
		a.serve()
		time.Sleep(10 * time.Minute) // it is dialled again by then
		synctest.Wait()
		if s, _ := status(t, f); s != Ready {
			t.Fatalf("the host is %s, want READY", s)
		}
		h.take()
		after(10*patience, 0, "when the host is back")
		a.down()
		after(patience-10*time.Second, 0, "after another loss")
		after(20*time.Second, 1, "after another loss, at its time")
	})
}
