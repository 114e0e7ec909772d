package collateral

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Retry asks another Getter again after failures that may pass, with growing
// pauses that differ from caller to caller, so that a fleet doesn't knock at once.
type Retry struct {
	// Next is asked.
	Next Getter
	// Attempts is how often in all; 0 means 4.
	Attempts int
	// First is the longest first pause, doubled each time up to Most; 0 means 1 s
	// and 20 s.
	First, Most time.Duration
	// Sleep waits, or returns ctx's error; nil means a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter returns a number from 0 to 1; nil means a random one.
	Jitter func() float64
}

// Get asks until an answer comes, attempts are used up, or the failure is one that
// asking again can't mend.
func (r *Retry) Get(ctx context.Context, req Request) (*Document, error) {
	attempts, pause, most := r.Attempts, r.First, r.Most
	if attempts <= 0 {
		attempts = 4
	}
	if pause <= 0 {
		pause = time.Second
	}
	if most <= 0 {
		most = 20 * time.Second
	}
	for n := 1; ; n++ {
		d, err := r.Next.Get(ctx, req)
		if err == nil || !passing(err) || ctx.Err() != nil {
			return d, err
		}
		if n == attempts {
			return nil, fmt.Errorf("%d attempts: %w", n, err)
		}
		if err := r.sleep(ctx, r.pause(min(pause, most), err)); err != nil {
			return nil, err
		}
		pause *= 2
	}
}

// pause is half of the longest and a random part of the other half, and no less
// than the service asks for, within reason.
func (r *Retry) pause(longest time.Duration, err error) time.Duration {
	jitter := rand.Float64
	if r.Jitter != nil {
		jitter = r.Jitter
	}
	d := longest/2 + time.Duration(jitter()*float64(longest/2))
	var status *StatusError
	if errors.As(err, &status) {
		d = max(d, min(status.RetryAfter, time.Minute))
	}
	return d
}

func (r *Retry) sleep(ctx context.Context, d time.Duration) error {
	if r.Sleep != nil {
		return r.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing tells whether a failure may be over the next time.
func passing(err error) bool {
	for _, lasting := range []error{ErrNotConfigured, ErrNotFound, ErrOffline, errRedirect} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	var status *StatusError
	if errors.As(err, &status) {
		return status.Status == 429 || status.Status >= 500
	}
	return true
}
