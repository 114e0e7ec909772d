package gateways

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitAckWaitsForEveryPresentGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New(time.Now, nil)
		defer tr.Connect("a")()
		defer tr.Connect("b")()
		done := make(chan error, 1)
		go func() { done <- tr.AwaitAck(t.Context(), "x.example", 3) }()
		tr.Acknowledge("a", []Ack{{"x.example", 4}}, nil)
		tr.Acknowledge("b", []Ack{{"x.example", 2}, {"y.example", 9}}, nil)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("went on before b acknowledged: %v", err)
		default:
		}
		tr.Acknowledge("b", []Ack{{"x.example", 3}}, nil)
		if err := <-done; err != nil {
			t.Errorf("after both acknowledged: %v", err)
		}
	})
}

func TestAGatewayOutOfContactIsWaitedForUntilItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New(time.Now, []string{"known"})
		leave := tr.Connect("gone")
		time.Sleep(10 * time.Second)
		leave()
		start := time.Now()
		if err := tr.AwaitAck(t.Context(), "x.example", 1); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < Lease || waited > Lease+time.Second {
			t.Errorf("waited %s, want the lease of %s", waited, Lease)
		}
		if names := tr.Names(); len(names) != 0 {
			t.Errorf("still waits for %v", names)
		}
	})
}

func TestAwaitAckEndsWithItsContext(t *testing.T) {
	tr := New(time.Now, nil)
	defer tr.Connect("a")()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.AwaitAck(ctx, "x.example", 1); err == nil {
		t.Error("went on without an acknowledgement")
	}
}

func TestWithoutGatewaysNothingIsWaitedFor(t *testing.T) {
	tr := New(time.Now, nil)
	if err := tr.AwaitAck(t.Context(), "x.example", 1); err != nil {
		t.Error(err)
	}
}

func TestDrainReportsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New(time.Now, nil)
		defer tr.Connect("a")()
		defer tr.Connect("b")()
		var got []int64
		done := make(chan error, 1)
		go func() { done <- tr.Drain(t.Context(), "e1", func(n int64) { got = append(got, n) }) }()
		synctest.Wait()
		for _, step := range []struct {
			gateway string
			open    int64
		}{{"a", 3}, {"b", 2}, {"a", 1}, {"a", 0}, {"b", 0}} {
			tr.Acknowledge(step.gateway, nil, []Connections{{"e1", step.open}})
			synctest.Wait()
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		// Two gateways that have not reported count one each.
		if want := []int64{2, 4, 5, 3, 2, 0}; !slices.Equal(got, want) {
			t.Errorf("reported %v, want %v", got, want)
		}
	})
}

func TestGenerationsNeverGoBack(t *testing.T) {
	tr := New(time.Now, nil)
	defer tr.Connect("a")()
	tr.Acknowledge("a", []Ack{{"x.example", 5}}, nil)
	tr.Acknowledge("a", []Ack{{"x.example", 2}}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := tr.AwaitAck(ctx, "x.example", 5); err != nil {
		t.Errorf("a late report took an acknowledgement back: %v", err)
	}
}
