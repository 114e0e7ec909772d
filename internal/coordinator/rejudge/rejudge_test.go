package rejudge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func key(name string) model.ContainerKey { return model.ContainerKey{Org: "acme", Name: name} }

func newRejudger(t *testing.T, change func(*Config)) *Rejudger {
	t.Helper()
	cfg := Config{
		Log: slog.New(slog.DiscardHandler), Every: time.Hour, Now: time.Now, Chance: func() float64 { return 0.5 },
		Serving: func(context.Context) (map[model.ContainerKey]string, error) { return nil, nil },
		Judge:   func(context.Context, model.ContainerKey) error { return nil },
	}
	change(&cfg)
	j, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestEveryEnclaveHasItsTurnOnceAnInterval(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	chance := 0.5
	j := newRejudger(t, func(c *Config) {
		c.Now, c.Chance = func() time.Time { return now }, func() float64 { return chance }
	})
	serving := map[model.ContainerKey]string{key("a"): "a-r1-1"}
	at := func(after time.Duration, want ...model.ContainerKey) {
		t.Helper()
		now = now.Add(after)
		if got := j.Due(serving); !slices.Equal(got, want) {
			t.Errorf("%v are due, expected %v", got, want)
		}
	}
	at(0)
	at(29 * time.Minute)
	at(2*time.Minute, key("a")) // half an interval after it was first seen
	at(0)
	at(59 * time.Minute)
	chance = 1
	at(time.Minute, key("a"))
	at(65 * time.Minute) // a tenth late
	at(2*time.Minute, key("a"))
	serving = map[model.ContainerKey]string{key("a"): "a-r2-1"} // an update: another enclave
	at(2 * time.Hour)
	at(time.Hour, key("a"))
	serving = nil
	at(10 * time.Hour)
	if len(j.due) != 0 {
		t.Errorf("%d enclaves that are gone are remembered", len(j.due))
	}
}

func TestAnAgentsWordHasTheEnclaveJudgedAtOnce(t *testing.T) {
	judged := make(chan model.ContainerKey, 8)
	j := newRejudger(t, func(c *Config) {
		c.Judge = func(_ context.Context, k model.ContainerKey) error { judged <- k; return errors.New("not reached") }
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	j.Ask(key("a"))
	if k := <-judged; k != key("a") {
		t.Errorf("judged %v, expected a", k)
	}
	j.Ask(key("b"))
	if k := <-judged; k != key("b") {
		t.Errorf("judged %v, expected b", k)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhoIsDueIsJudged(t *testing.T) {
	judged := make(chan model.ContainerKey, 64)
	failing := true
	j := newRejudger(t, func(c *Config) {
		c.Every, c.Look = time.Nanosecond, time.Millisecond
		c.Serving = func(context.Context) (map[model.ContainerKey]string, error) {
			if failing {
				failing = false
				return nil, errors.New("the store is busy")
			}
			return map[model.ContainerKey]string{key("a"): "a-r1-1"}, nil
		}
		c.Judge = func(_ context.Context, k model.ContainerKey) error {
			select {
			case judged <- k:
			default:
			}
			return nil
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	for range 2 {
		if k := <-judged; k != key("a") {
			t.Errorf("judged %v, expected a", k)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestAskingTooMuchBlocksNobody(t *testing.T) {
	j := newRejudger(t, func(*Config) {})
	for range 2 * waiting {
		j.Ask(key("a"))
	}
	if got := j.withWaiting(key("b")); len(got) != 2 {
		t.Errorf("%d containers are to be judged, expected each once", len(got))
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a Rejudger of nothing was made")
	}
}

func TestAnAgentsWordDoesNotWaitForEnclavesThatNeverAnswer(t *testing.T) {
	asked, judged := make(chan struct{}, atOnce), make(chan model.ContainerKey, 1)
	j := newRejudger(t, func(c *Config) {
		c.Every, c.Look = time.Nanosecond, time.Millisecond
		c.Serving = func(context.Context) (map[model.ContainerKey]string, error) {
			return map[model.ContainerKey]string{key("a"): "a-r1-1", key("b"): "b-r1-1", key("c"): "c-r1-1"}, nil
		}
		c.Judge = func(ctx context.Context, k model.ContainerKey) error {
			if k == key("told") {
				judged <- k
				return nil
			}
			asked <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	for range atOnce {
		<-asked
	}
	j.Ask(key("told"))
	<-judged
	cancel()
	for {
		select {
		case <-asked: // one whose turn came with the end
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v", err)
			}
			return
		}
	}
}
