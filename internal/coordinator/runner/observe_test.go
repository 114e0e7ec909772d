package runner

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func TestWhatAHostSaysIsReadWhenTheContainersTurnHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deployed(t)
		active := *r.state().Container.Active
		turn := make(chan struct{})
		r.runner.enqueue(api, func(context.Context, *actor) { <-turn })
		// The host does not know the enclave yet when it is asked for, and does
		// before the container's turn has come.
		r.hosts.mu.Lock()
		known := r.hosts.enclaves[active.ID]
		delete(r.hosts.enclaves, active.ID)
		r.hosts.mu.Unlock()
		r.runner.observe(api, active)
		synctest.Wait()
		r.hosts.mu.Lock()
		r.hosts.enclaves[active.ID] = known
		r.hosts.mu.Unlock()
		close(turn)
		r.pass(time.Second)
		r.wants(model.Running, "v1", model.Succeeded)
	})
}
