package guest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/release"
)

var epoch = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// at is a clock that stands still until it is told to move.
type at struct{ now time.Time }

func (c *at) Now() time.Time                             { return c.now }
func (c *at) Sleep(context.Context, time.Duration) error { return nil }
func (c *at) pass(d time.Duration)                       { c.now = c.now.Add(d) }

func TestTracker(t *testing.T) {
	check := release.Healthcheck{Interval: 30 * time.Second, Retries: 2, StartPeriod: time.Minute}
	sick := errors.New("sick")
	type step struct {
		after time.Duration // since the start
		err   error
		want  health
	}
	for rule, steps := range map[string][]step{
		"success at once is healthy":                {{0, nil, healthHealthy}},
		"failures of the start period do not count": {{10 * time.Second, sick, healthStarting}, {59 * time.Second, sick, healthStarting}, {61 * time.Second, sick, healthStarting}},
		"after it they count once an interval": {{61 * time.Second, sick, healthStarting}, {62 * time.Second, sick, healthStarting},
			{90 * time.Second, sick, healthStarting}, {91 * time.Second, sick, healthUnhealthy}},
		"success ends the start period": {{time.Second, nil, healthHealthy}, {31 * time.Second, sick, healthHealthy}, {61 * time.Second, sick, healthUnhealthy}},
		"success forgets failures": {{time.Second, nil, healthHealthy}, {31 * time.Second, sick, healthHealthy},
			{61 * time.Second, nil, healthHealthy}, {91 * time.Second, sick, healthHealthy}},
		"an unhealthy one recovers": {{61 * time.Second, sick, healthStarting}, {91 * time.Second, sick, healthUnhealthy}, {92 * time.Second, nil, healthHealthy}},
	} {
		tr := newTracker(check, epoch)
		for i, s := range steps {
			if got := tr.observe(epoch.Add(s.after), s.err); got != s.want {
				t.Errorf("%s: step %d gives %d, expected %d", rule, i, got, s.want)
			}
		}
	}
	tr := newTracker(check, epoch)
	if tr.pause() != startInterval {
		t.Errorf("while it starts the pause is %s, expected %s", tr.pause(), startInterval)
	}
	tr.observe(epoch, nil)
	if tr.pause() != check.Interval {
		t.Errorf("while it is healthy the pause is %s, expected %s", tr.pause(), check.Interval)
	}
}

func TestLimiter(t *testing.T) {
	clock := &at{epoch}
	l := newLimiter(1, 2, clock)
	take := func(remote string, want bool) {
		t.Helper()
		if l.allow(remote) != want {
			t.Errorf("%s: allowed %v, expected %v", remote, !want, want)
		}
	}
	take("10.0.0.1:1", true)
	take("10.0.0.1:2", true)
	take("10.0.0.1:3", false)
	take("10.0.0.2:1", true)
	clock.pass(time.Second)
	take("10.0.0.1:4", true)
	take("10.0.0.1:5", false)
	if !newLimiter(0, 0, clock).allow("x") {
		t.Error("no rate is no limit")
	}
}

func TestLimiterOfACrowdIsBounded(t *testing.T) {
	clock := &at{epoch}
	l := newLimiter(1, 1, clock)
	for i := range 3 * maxCallers {
		l.allow(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
	}
	if len(l.callers) > maxCallers+1 {
		t.Errorf("%d callers are remembered, expected %d at most", len(l.callers), maxCallers+1)
	}
	if l.allow("192.0.2.1:1") {
		t.Error("a caller beyond the bound has an allowance of its own")
	}
	clock.pass(time.Minute)
	if !l.allow("192.0.2.2:1") || len(l.callers) > 1 {
		t.Errorf("%d callers are remembered after a minute, expected full buckets to be forgotten", len(l.callers))
	}
}

func TestNonceLogRemembersTheLast(t *testing.T) {
	n := newNonceLog()
	nonce := func(i int) [32]byte { return [32]byte{byte(i >> 8), byte(i), 1} }
	n.add(nonce(0))
	n.add(nonce(0))
	for i := 1; i < maxNonces; i++ {
		n.add(nonce(i))
	}
	if !n.has(nonce(0)) || !n.has(nonce(maxNonces-1)) || n.has(nonce(maxNonces)) {
		t.Error("the last 1024 nonces are not those remembered")
	}
	n.add(nonce(maxNonces))
	if n.has(nonce(0)) {
		t.Error("a nonce that left the ring twice is remembered")
	}
	if len(n.ring) != maxNonces || len(n.at) > maxNonces {
		t.Errorf("%d and %d are kept, expected %d at most", len(n.ring), len(n.at), maxNonces)
	}
}

func TestBoardTimesStages(t *testing.T) {
	clock := &at{epoch}
	b := newBoard(clock)
	b.set(guestapi.StageConfig, guestapi.StatusRunning, "")
	clock.pass(2 * time.Second)
	if s, _ := b.snapshot(); s.Stages[0].DurationMS != 2000 {
		t.Errorf("a running stage shows %d ms, expected 2000", s.Stages[0].DurationMS)
	}
	b.set(guestapi.StageConfig, guestapi.StatusOK, "")
	clock.pass(time.Hour)
	s, _ := b.snapshot()
	if s.Stages[0].DurationMS != 2000 || s.Version != 3 {
		t.Errorf("a stage that is done shows %d ms at version %d, expected 2000 at 3", s.Stages[0].DurationMS, s.Version)
	}
	s.Stages[0].Reason = "changed by the reader"
	if again, _ := b.snapshot(); again.Stages[0].Reason != "" {
		t.Error("a reader changed the board")
	}
}

func TestInflight(t *testing.T) {
	f := newInflight()
	if err := f.wait(t.Context()); err != nil {
		t.Errorf("idle at the start: %v", err)
	}
	first, done := f.begin(t.Context())
	_, done2 := f.begin(t.Context())
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if f.wait(short) == nil || f.count() != 2 {
		t.Error("two requests are in flight and nobody waited")
	}
	done2()
	f.end()
	if first.Err() == nil {
		t.Error("a request outlived the end")
	}
	done()
	if err := f.wait(t.Context()); err != nil {
		t.Error(err)
	}
	late, doneLate := f.begin(t.Context())
	defer doneLate()
	if late.Err() == nil {
		t.Error("a request began after the end")
	}
}
