package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

// TestWhateverHappensNoCardHasTwoHoldersAndAllComesToRest drives an agent with
// random calls, deaths and restarts. A failure names the seed.
func TestWhateverHappensNoCardHasTwoHoldersAndAllComesToRest(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			c := &chaos{harness: newHarness(t), rng: rand.New(rand.NewPCG(seed, 0))}
			for range 150 {
				c.step()
				c.check()
			}
			c.rest()
		})
	}
}

// chaos is what may happen to a host.
type chaos struct {
	*harness
	rng *rand.Rand
}

func (c *chaos) id() string { return fmt.Sprintf("e%d", c.rng.IntN(12)) }

// step does one thing that may happen. Calls may be refused, but only with a
// reason that fits.
func (c *chaos) step() {
	id := c.id()
	switch c.rng.IntN(10) {
	case 0, 1, 2, 3:
		_, err := c.create(id, newSpec([]int{0, 1, 1, 1, 8}[c.rng.IntN(5)]))
		c.permit("create", err, "NO_CAPACITY", "SPEC_DIFFERS", "STOPPED")
	case 4, 5:
		_, err := c.stopEnclave(id)
		c.permit("stop", err)
	case 6:
		c.permit("delete", c.delete(id), "NOT_ENDED")
	case 7:
		c.backend.exit(id, enclave.ReasonDied)
	case 8:
		time.Sleep(time.Duration(c.rng.IntN(20)) * time.Millisecond)
	case 9:
		if c.rng.IntN(3) == 0 {
			c.restart()
		}
	}
}

// permit fails the test if a call was refused for another reason.
func (c *chaos) permit(what string, err error, reasons ...string) {
	c.t.Helper()
	if err == nil {
		return
	}
	for _, r := range reasons {
		if rpc.Reason(err) == r {
			return
		}
	}
	if rpc.Code(err) != codes.OK {
		c.t.Errorf("%s: %v", what, err)
	}
}

// check says whether a card is held twice, by the VMs that run or by what the
// agent tells, and whether every VM that runs has a claim.
func (c *chaos) check() {
	c.t.Helper()
	claims, err := c.agent.claims(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	holders := map[string]string{}
	c.backend.mu.Lock()
	defer c.backend.mu.Unlock()
	for id, v := range c.backend.vms {
		if v.obs.Phase != enclave.PhaseRunning {
			continue
		}
		if _, ok := claims[id]; !ok {
			c.t.Errorf("%s runs without a claim", id)
		}
		for _, g := range v.obs.GPUs {
			if other := holders[g]; other != "" {
				c.t.Errorf("%s and %s both run with %s", other, id, g)
			}
			holders[g] = id
		}
	}
	claimed := map[string]string{}
	for id, claim := range claims {
		for _, g := range claim.Cards() {
			if other := claimed[g.String()]; other != "" {
				c.t.Errorf("%s and %s both claim %s", other, id, g)
			}
			claimed[g.String()] = id
		}
	}
}

// rest stops everything and waits until nothing is held.
func (c *chaos) rest() {
	c.t.Helper()
	for i := range 12 {
		id := fmt.Sprintf("e%d", i)
		_, err := c.stopEnclave(id)
		c.permit("stop", err)
		c.await(id, func(e *agentv1.Enclave) bool { return ended(e.GetState()) && !e.GetClaimed() })
		c.permit("delete", c.delete(id))
	}
	if left := c.backend.running(); len(left) > 0 {
		c.t.Errorf("%v run", left)
	}
	eventually(c.t, "everything is free", func() bool {
		f := c.host()
		return f.GetFreeGpus() == 8 && f.GetCpus().GetFree() == f.GetCpus().GetTotal() && len(f.GetGpuOffers()) == 3
	})
	if n := c.agent.board.len(); n != 0 {
		c.t.Errorf("%d enclaves are told", n)
	}
}
