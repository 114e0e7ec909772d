package runner

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func other(n int) model.ContainerKey {
	return model.ContainerKey{Org: "acme", Name: fmt.Sprint("other", n)}
}

func TestNoMoreContainersAreWorkedOnAtATimeThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		began, ended := make(chan int, 10*turnsAtOnce), make(chan int, 10*turnsAtOnce)
		for n := range 3 * turnsAtOnce {
			r.runner.enqueue(other(n), func(context.Context, *actor) {
				began <- n
				<-release
				ended <- n
			})
		}
		synctest.Wait()
		if len(began) != turnsAtOnce {
			t.Errorf("%d containers are worked on, want %d", len(began), turnsAtOnce)
		}
		close(release)
		synctest.Wait()
		if len(ended) != 3*turnsAtOnce {
			t.Errorf("%d tasks were done, want %d", len(ended), 3*turnsAtOnce)
		}
	})
}

func TestContainersThatWaitHoldNoOthersUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release, did := make(chan struct{}), make(chan bool, 1)
		for n := range 2 * turnsAtOnce {
			r.runner.enqueue(other(n), func(context.Context, *actor) {
				r.runner.pause()
				<-release
				r.runner.goOn()
			})
		}
		r.runner.enqueue(api, func(context.Context, *actor) { did <- true })
		synctest.Wait()
		if len(did) != 1 {
			t.Errorf("%d containers that wait to try again kept another from its turn", 2*turnsAtOnce)
		}
		close(release)
		synctest.Wait()
		r.runner.mu.Lock()
		defer r.runner.mu.Unlock()
		if left := r.runner.turns.workers; left != 0 {
			t.Errorf("%d workers are left with nothing to do", left)
		}
	})
}

func TestSomeWorkersWaitForTheNextContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		did := 0
		idle := func() int {
			synctest.Wait()
			r.runner.mu.Lock()
			defer r.runner.mu.Unlock()
			if n := r.runner.turns.workers; n != 0 {
				t.Errorf("%d workers have nothing to do and count as working", n)
			}
			return r.runner.turns.idle
		}
		for range 3 {
			r.runner.enqueue(api, func(context.Context, *actor) { did++ })
			if n := idle(); n != 1 {
				t.Errorf("%d workers wait after one was needed at a time, want 1", n)
			}
		}
		release := make(chan struct{})
		for n := range 2 * keptIdle {
			r.runner.enqueue(other(n), func(context.Context, *actor) { <-release })
		}
		close(release)
		if n := idle(); n != keptIdle || did != 3 {
			t.Errorf("%d workers wait and %d tasks were done, want %d and 3", n, did, keptIdle)
		}
	})
}

func TestRequestsGoBeforeWhatAgentsTellAndDoNotStarveIt(t *testing.T) {
	var q turns
	for n := range 8 {
		q.first = append(q.first, turn{key: other(n)})
		q.later = append(q.later, turn{key: other(100 + n)})
	}
	var got string
	for !q.empty() {
		if n := q.next(); len(n.key.Name) > len("other00") {
			got += "l"
		} else {
			got += "f"
		}
	}
	if want := "ffflffflffllllll"; got != want {
		t.Errorf("turns came as %s, want %s", got, want)
	}
}
