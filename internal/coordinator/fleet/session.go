package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// Status is what is known of a host.
type Status string

// The statuses of a host.
const (
	Joining     Status = "JOINING"
	Ready       Status = "READY"
	Unreachable Status = "UNREACHABLE"
	Refused     Status = "REFUSED"
)

// session follows one host. Its Run is the only writer of what the agent says.
type session struct {
	fleet *Fleet
	conn  Conn
	stop  context.CancelFunc
	done  chan struct{}

	mu     sync.Mutex
	record model.Host
	status Status
	text   string
	facts  *agentv1.Host
	// machine is what is on record of the machine. Only what it says itself changes it.
	machine  model.Machine
	enclaves map[string]*agentv1.Enclave
	// synced: the enclaves are all there are; told: the facts are from since the
	// host was last lost. Neither is believed for anything new until both hold.
	synced bool
	told   bool
	seen   time.Time
	// lostAt is when the host was lost; silence is when that is told next, and
	// noticed says that it was told once. queued is for how long since then nobody
	// has tried to reach it, because so many others were: no time of silence.
	lostAt  time.Time
	silence time.Time
	noticed bool
	queued  time.Duration
	changed chan struct{}
	version int64
}

func newSession(f *Fleet, record model.Host, m model.Machine) *session {
	return &session{
		fleet: f, record: record, machine: m, status: Joining, done: make(chan struct{}),
		enclaves: map[string]*agentv1.Enclave{}, changed: make(chan struct{}),
	}
}

// update changes what is known under the lock and wakes who waits.
func (s *session) update(change func()) {
	s.mu.Lock()
	change()
	s.version = s.fleet.nextVersion()
	s.fleet.places.touch(s.record.Name)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.fleet.wake()
}

// run keeps watching the agent until ctx ends, and calls ended then. It does not
// block.
func (s *session) run(ctx context.Context, ended func()) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 100*time.Millisecond, 5*time.Second
	var again func(error)
	start := s.fleet.cfg.Now()
	again = func(err error) {
		if ctx.Err() == nil {
			s.lost(ctx, err)
			if s.fleet.cfg.Now().Sub(start) > retry.MaxInterval {
				retry.Reset()
			}
			if wait(ctx, retry.NextBackOff()) {
				start = s.fleet.cfg.Now()
				s.watch(ctx, again)
				return
			}
		}
		close(s.done)
		ended()
	}
	s.watch(ctx, again)
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (s *session) lost(ctx context.Context, err error) {
	status := Unreachable
	switch rpc.Reason(err) {
	case "FOREIGN_CLUSTER", "STALE_EPOCH":
		status = Refused
	}
	now := s.fleet.cfg.Now()
	var due, long bool
	var since time.Time
	s.update(func() {
		if s.status == Ready {
			s.seen = now
		}
		if s.status != status {
			s.fleet.cfg.Log.Warn("host lost", "host", s.record.Name, "status", string(status), "error", err)
			s.lostAt, s.silence, s.noticed, s.queued = now, now.Add(s.fleet.notice()), false, 0
		}
		if tried := now.Add(-s.queued); status == Unreachable && !tried.Before(s.silence) {
			due, long, since = true, s.tellSilence(tried), s.lostAt
		}
		s.status, s.text, s.synced = status, clip(rpc.Text(err), maxText), false
		s.told = false
	})
	if due {
		s.noteSilence(ctx, since.UTC())
		s.fleet.silent(s.record.Name, since, long)
	}
}

// tellSilence says whether the silence that is told now has become long, and sets
// when it is told next. s.mu is held.
func (s *session) tellSilence(now time.Time) bool {
	patience := s.fleet.cfg.Silent
	if patience == 0 {
		s.silence = now.Add(noticeAfter)
		return false
	}
	if !s.noticed && now.Sub(s.lostAt) < patience {
		s.noticed, s.silence = true, s.lostAt.Add(patience)
		return false
	}
	s.noticed, s.silence = true, now.Add(patience)
	return true
}

// likely says whether a host answers as far as is known: it has not been tried, and
// was not silent when the coordinator before ended, or was lost so short a time ago
// that its agent may as well be restarting.
func (s *session) likely(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lostAt.IsZero() {
		return s.machine.Silent.IsZero()
	}
	return now.Sub(s.lostAt) < noticeAfter
}

func (s *session) nowReady() {
	if s.told && s.synced && s.status != Ready {
		s.status, s.text = Ready, ""
		if at := s.machine.Anew; !at.IsZero() {
			s.text = "set up anew, or its state folder lost, by " + at.UTC().Format(time.RFC3339) + ": what it had then is gone"
		}
		s.fleet.cfg.Log.Info("host ready", "host", s.record.Name, "gpus", len(s.facts.GetGpus()))
	}
}
