package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// silences counts words of silence and those of long silence, and wants nothing
// but the word on e1.
func silences(t *testing.T, h *heard) (n, long int) {
	t.Helper()
	for _, s := range h.take() {
		if s.State != model.EnclaveSilent {
			continue
		}
		n++
		if s.Long {
			long++
		}
		if s.Since.IsZero() {
			t.Errorf("heard %+v, which does not say since when", s)
		}
		if s.Enclave != "e1" || s.Host != "h1" || s.Key != (model.ContainerKey{Org: "acme", Name: "api"}) {
			t.Errorf("heard %+v, want that nothing is heard of e1 on h1", s)
		}
	}
	return n, long
}

func TestSilenceIsToldToWhomRoomWasPromised(t *testing.T) {
	a := newAgent()
	bubble(t, a, func(t *testing.T, f *Fleet, h *heard) {
		f.Promise(promise("e1", 1, ""))
		after := func(d time.Duration, want, wantLong int, when string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got, long := silences(t, h); got != want || long != wantLong {
				t.Errorf("%s silence is told %d times, %d times as a long one, want %d and %d", when, got, long, want, wantLong)
			}
		}
		after(10*patience, 0, 0, "while the host answers")
		a.down()
		after(noticeAfter-5*time.Second, 0, 0, "at once")
		after(15*time.Second, 1, 0, "when it is noticed")
		after(patience-noticeAfter-20*time.Second, 0, 0, "before its time")
		after(20*time.Second, 1, 1, "at its time")
		after(patience+10*time.Second, 1, 1, "as long again")
		a.serve()
		time.Sleep(10 * time.Minute) // it is dialled again by then
		synctest.Wait()
		if s, _ := status(t, f); s != Ready {
			t.Fatalf("the host is %s, want READY", s)
		}
		h.take()
		after(10*patience, 0, 0, "when the host is back")
		a.down()
		after(patience-10*time.Second, 1, 0, "after another loss")
		after(20*time.Second, 1, 1, "after another loss, at its time")
	})
}

func TestAHostIsSeenUntilItIsLost(t *testing.T) {
	a := newAgent()
	bubble(t, a, func(t *testing.T, f *Fleet, _ *heard) {
		seen := func() time.Time {
			t.Helper()
			v, err := f.View("h1")
			if err != nil {
				t.Fatal(err)
			}
			return v.Seen
		}
		time.Sleep(time.Hour) // and the agent has nothing new to say
		if got := seen(); !got.Equal(time.Now()) {
			t.Errorf("a host that answers was seen at %v, want now, %v", got, time.Now())
		}
		lost := time.Now()
		a.down()
		time.Sleep(time.Hour)
		if got := seen(); !got.Equal(lost) {
			t.Errorf("a host that is lost was seen at %v, want %v", got, lost)
		}
	})
}

func TestSilenceIsOnRecordUntilTheHostAnswers(t *testing.T) {
	a := newAgent()
	machines := &noted{}
	synctest.Test(t, func(t *testing.T) {
		f, _ := joinedTo(t, a, machines)
		synctest.Wait()
		lost := time.Now()
		a.down()
		time.Sleep(noticeAfter / 2)
		synctest.Wait()
		if m := machines.of("h1"); !m.Silent.IsZero() {
			t.Errorf("on record is %+v of a host that was lost a moment ago", m)
		}
		time.Sleep(2 * noticeAfter)
		synctest.Wait()
		if m := machines.of("h1"); !m.Silent.Equal(lost) {
			t.Errorf("on record is %+v, want that it does not answer since %s", m, lost)
		}
		later := newSession(f, model.Host{Name: "h1"}, machines.of("h1"))
		if later.likely(time.Now()) {
			t.Error("a coordinator that starts takes a silent host for one that is likely to answer")
		}
		a.serve()
		time.Sleep(time.Minute)
		synctest.Wait()
		if m := machines.of("h1"); !m.Silent.IsZero() {
			t.Errorf("on record is %+v of a host that answers", m)
		}
	})
}
