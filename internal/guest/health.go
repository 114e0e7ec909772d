package guest

import (
	"time"

	"github.com/casemate-dev/casemate/pkg/release"
)

// health is what is known of one container.
type health int

const (
	healthStarting health = iota
	healthHealthy
	healthUnhealthy
)

// startInterval is how often a container that is not healthy is tested, if its
// config's interval is longer: a model that has loaded should not wait half a
// minute to be used. Docker calls it start_interval.
const startInterval = time.Second

// tracker turns test results into health, by the rules of Docker's health
// checks. It is pure: results and times in, health out.
type tracker struct {
	check   release.Healthcheck
	started time.Time
	// counted is when a failure was last counted: the tests between two intervals
	// can show success early, and failure no faster than the config says.
	counted  time.Time
	failures int
	state    health
}

func newTracker(check release.Healthcheck, now time.Time) *tracker {
	return &tracker{check: check, started: now, counted: now}
}

// observe takes one result.
func (t *tracker) observe(at time.Time, err error) health {
	switch {
	case err == nil:
		t.failures, t.state = 0, healthHealthy
	case t.state == healthStarting && at.Before(t.started.Add(t.check.StartPeriod)):
	case t.state != healthHealthy && at.Sub(t.counted) < t.check.Interval:
	default:
		t.counted = at
		t.failures++
		if t.failures >= t.check.Retries {
			t.state = healthUnhealthy
		}
	}
	return t.state
}

// pause is the time until the next test.
func (t *tracker) pause() time.Duration {
	if t.state == healthHealthy {
		return t.check.Interval
	}
	return min(t.check.Interval, startInterval)
}
