package engine

import "time"

// GuestDrain is how long a guest that is told to stop lets requests in flight
// finish, at most (guest.DefaultGrace). It closes idle connections at once.
const GuestDrain = 30 * time.Second

// Limits are how long each step may take.
type Limits struct {
	// Pending is from the start of an update until its enclave runs.
	Pending time.Duration
	// Started is from there until it is healthy, unless the config's own health
	// checks allow more or the request says otherwise.
	Started time.Duration
	// Ack is how long gateways have to acknowledge a route.
	Ack time.Duration
	// Drain is how long connections to the old version may go on.
	Drain time.Duration
	// Stop is the grace a guest has to power off; StopMargin is what the agent
	// has on top of it to kill and clean up.
	Stop       time.Duration
	StopMargin time.Duration
	// Free is how long a host has to prove that GPUs are free.
	Free time.Duration
	// Hold is how long a candidate waits for a person.
	Hold time.Duration
	// RestartPause is the time before an enclave that died is started again for the
	// first time; it doubles with every attempt up to RestartMaxPause. Restarts is
	// how many attempts are made, and Steady how long an enclave must have served
	// for the count to begin anew.
	RestartPause    time.Duration
	RestartMaxPause time.Duration
	Restarts        int
	Steady          time.Duration
	// Teardown is how long a stop or deletion waits for an update to end.
	Teardown time.Duration
}

// DefaultLimits returns the defaults, as docs/updates.md explains them.
func DefaultLimits() Limits {
	return Limits{
		Pending:    15 * time.Minute,
		Started:    30 * time.Minute,
		Ack:        30 * time.Second,
		Drain:      30 * time.Second,
		Stop:       60 * time.Second,
		StopMargin: 30 * time.Second,
		Free:       5 * time.Minute,
		Hold:       24 * time.Hour,
		Teardown:   10 * time.Minute,

		RestartPause:    5 * time.Second,
		RestartMaxPause: 5 * time.Minute,
		Restarts:        5,
		Steady:          10 * time.Minute,
	}
}

// restartPause is the time before the next start, after this many attempts.
func (l Limits) restartPause(attempts int) time.Duration {
	pause := l.RestartPause
	for range attempts {
		if pause >= l.RestartMaxPause {
			break
		}
		pause *= 2
	}
	return min(pause, l.RestartMaxPause)
}
