package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// claimOp asks for cards, or gives back what an enclave holds.
type claimOp struct {
	enclave string
	cards   [2]int
	release bool
}

// cards are the holders of four cards: the ledger's model.
type cards [4]string

var oneLedger = porcupine.Model{
	Init: func() any { return cards{} },
	Step: func(state, in, out any) (bool, any) {
		c, o, ok := state.(cards), in.(claimOp), out.(bool)
		if o.release {
			for i, holder := range c {
				if holder == o.enclave {
					c[i] = ""
				}
			}
			return ok, c
		}
		free := c[o.cards[0]] == "" && c[o.cards[1]] == ""
		if ok {
			c[o.cards[0]], c[o.cards[1]] = o.enclave, o.enclave
		}
		return ok == free, c
	},
}

// searchLimit is far more than it takes to find an order of answers, or that there is
// none.
const searchLimit = 5 * time.Minute

func bdf(i int) gpu.BDF { return gpu.BDF(fmt.Sprintf("0000:%02x:00.0", 0x10+i)) }

// TestClaimsAreLinearizable lets callers claim overlapping cards of one ledger at
// once: the answers could have been given one after the other, so no card ever
// had two holders.
func TestClaimsAreLinearizable(t *testing.T) {
	granted, refused := 0, 0
	for seed := range uint64(8) {
		history := claimAtOnce(t, seed)
		for _, o := range history {
			switch {
			case o.Input.(claimOp).release:
			case o.Output.(bool):
				granted++
			default:
				refused++
			}
		}
		if res, _ := porcupine.CheckOperationsVerbose(oneLedger, history, searchLimit); res != porcupine.Ok {
			t.Fatalf("seed %d: no order explains these answers (%v): %+v", seed, res, history)
		}
	}
	if granted == 0 || refused == 0 {
		t.Errorf("%d claims were granted and %d refused: nobody competed", granted, refused)
	}
}

func claimAtOnce(t *testing.T, seed uint64) []porcupine.Operation {
	t.Helper()
	l, err := ledger.Open(t.TempDir(), ledger.Config{BootID: "b", Capacity: ledger.Capacity{CPUs: 1000, MemoryMiB: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := l.Reconcile(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var history []porcupine.Operation
	began := time.Now()
	record := func(user int, o claimOp, f func() bool) bool {
		call := time.Since(began).Nanoseconds()
		ok := f()
		end := time.Since(began).Nanoseconds()
		mu.Lock()
		defer mu.Unlock()
		history = append(history, porcupine.Operation{ClientId: user, Input: o, Call: call, Output: ok, Return: end})
		return ok
	}
	var users sync.WaitGroup
	for user := range 4 {
		users.Go(func() { claimSome(t, l, user, rand.New(rand.NewPCG(seed, uint64(user))), record) })
	}
	users.Wait()
	return history
}

func claimSome(t *testing.T, l *ledger.Ledger, user int, rng *rand.Rand, record func(int, claimOp, func() bool) bool) {
	ctx := context.Background()
	for i := range 10 {
		o := claimOp{enclave: fmt.Sprintf("e%d-%d", user, i), cards: [2]int{rng.IntN(2), 2 + rng.IntN(2)}}
		ok := record(user, o, func() bool {
			_, err := l.Claim(ctx, ledger.Request{EnclaveID: o.enclave, SpecDigest: "d", ClusterID: "c", CPUs: 1, MemoryMiB: 1, GPUs: []gpu.BDF{bdf(o.cards[0]), bdf(o.cards[1])}})
			var held *ledger.CardError
			if err != nil && !errors.As(err, &held) {
				t.Errorf("claim: %v", err)
			}
			return err == nil
		})
		if !ok {
			continue
		}
		record(user, claimOp{enclave: o.enclave, release: true}, func() bool {
			if err := errors.Join(l.Activate(ctx, o.enclave), l.BeginRelease(ctx, o.enclave), l.Release(ctx, o.enclave)); err != nil {
				t.Errorf("release: %v", err)
				return false
			}
			return true
		})
	}
}
