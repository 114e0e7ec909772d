package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/casemate-dev/casemate/internal/store"
)

// call is one step of a client: a read of a counter, or a compare-and-swap from
// the revision it last read.
type call struct {
	Swap     bool
	Revision int64
	Value    int
}

// reply is what came of it. For a swap Revision is the new one, 0 if it lost.
type reply struct {
	Revision int64
	Value    int
}

// counter is the register's sequential specification: a swap succeeds exactly
// when its revision is the current one, and revisions grow.
var counter = porcupine.Model{
	Init: func() any { return reply{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(reply), input.(call), output.(reply)
		if !in.Swap {
			return out == s, s
		}
		if out.Revision == 0 {
			return in.Revision != s.Revision, s
		}
		return in.Revision == s.Revision && out.Revision > s.Revision, reply{Revision: out.Revision, Value: in.Value}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

func linearizable(t *testing.T, s Suite) {
	const clients, steps = 5, 60
	ctx, st := testContext(t), s.open(t, Options{})
	start := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	for id := range clients {
		wg.Go(func() {
			ops, err := increment(ctx, st, id, steps, start)
			if err != nil {
				t.Errorf("client %d: %v", id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			history = append(history, ops...)
		})
	}
	wg.Wait()
	if got := porcupine.CheckOperationsTimeout(counter, history, patience); got != porcupine.Ok {
		t.Errorf("the history of %d operations is not linearizable (%s)", len(history), got)
	}
	checkCount(ctx, t, st, history)
}

// checkCount holds the counter against the swaps that won.
func checkCount(ctx context.Context, t *testing.T, st store.Store, history []porcupine.Operation) {
	t.Helper()
	won := 0
	for _, op := range history {
		if op.Input.(call).Swap && op.Output.(reply).Revision != 0 {
			won++
		}
	}
	if got := mustGet(ctx, t, st, "counter"); string(got.Value) != strconv.Itoa(won) {
		t.Errorf("the counter is %s after %d increments", got.Value, won)
	}
}

// increment reads the counter and tries to raise it by one, again and again.
func increment(ctx context.Context, st store.Store, id, steps int, start time.Time) ([]porcupine.Operation, error) {
	var ops []porcupine.Operation
	for range steps {
		began := time.Since(start)
		seen, err := readCounter(ctx, st)
		if err != nil {
			return ops, err
		}
		ops = append(ops, porcupine.Operation{ClientId: id, Input: call{}, Call: int64(began), Output: seen, Return: int64(time.Since(start))})

		swap := call{Swap: true, Revision: seen.Revision, Value: seen.Value + 1}
		began = time.Since(start)
		rev, err := st.Txn(ctx, []store.Compare{store.ModRevision("counter", swap.Revision)},
			[]store.Op{store.Put("counter", []byte(strconv.Itoa(swap.Value)))})
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return ops, err
		}
		ops = append(ops, porcupine.Operation{ClientId: id, Input: swap, Call: int64(began), Output: reply{Revision: rev, Value: 0}, Return: int64(time.Since(start))})
	}
	return ops, nil
}

func readCounter(ctx context.Context, st store.Store) (reply, error) {
	kv, err := st.Get(ctx, "counter")
	if errors.Is(err, store.ErrNotFound) {
		return reply{}, nil
	}
	if err != nil {
		return reply{}, err
	}
	value, err := strconv.Atoi(string(kv.Value))
	return reply{Revision: kv.ModRevision, Value: value}, err
}
