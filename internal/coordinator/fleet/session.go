package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"

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

// watch follows the agent until a stream breaks, and tells ended why. It does not
// block. One stream tells of the enclaves and of the host; from an agent that
// does not know of that the host's facts come by a second one.
func (s *session) watch(ctx context.Context, ended func(error)) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{session: s, ctx: ctx, cancel: cancel, dialled: func() {}, late: func() bool { return false }, snapshot: map[string]*agentv1.Enclave{}}
	w.ended = func(err error) {
		w.dialled()
		w.late()
		cancel(err)
		if w.streams.Add(-1) == 0 {
			ended(context.Cause(ctx))
		}
	}
	w.streams.Store(1)
	go w.dial()
}

// dial begins to watch when it is this host's turn.
func (w *watch) dial() {
	waits := w.fleet.cfg.Now()
	done, err := w.fleet.dials.begin(w.ctx, w.likely(waits))
	if err != nil {
		w.ended(err)
		return
	}
	w.dialled = done
	w.late = time.AfterFunc(tellPatience, w.giveUp).Stop
	w.mu.Lock()
	w.queued += w.fleet.cfg.Now().Sub(waits)
	w.mu.Unlock()
	w.enclaves()
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

// tellPatience is how long a host that is dialled may take to tell of all it has:
// far longer than one that works needs. Until then a host that is followed anew may
// still offer room, and whoever asks for some waits for it.
const tellPatience = 30 * time.Second

var errTellsNothing = fmt.Errorf("the agent has not told what its host has within %s: it may hang", tellPatience)

// giveUp ends an attempt of a host that does not tell what it has.
func (w *watch) giveUp() {
	w.mu.Lock()
	told := w.synced && w.told
	w.mu.Unlock()
	if !told {
		w.cancel(errTellsNothing)
	}
}

// watch is one attempt to follow an agent.
type watch struct {
	*session
	ctx     context.Context
	cancel  context.CancelCauseFunc
	ended   func(error)
	streams atomic.Int32
	// late ends the time in which the host has to tell what it has.
	late func() bool
	// dialled ends the host's turn; it may be called again.
	dialled func()
	// snapshot has the enclaves told of so far; nil once all have been.
	snapshot map[string]*agentv1.Enclave
	// hosted: the stream of enclaves tells of the host.
	hosted bool
}

// receive hands every message of a stream to take until either fails, and tells
// ended why. Each message is awaited by a goroutine of its own: to take one needs
// a larger stack than to wait for it, and a stack that is more than a quarter in
// use is never made smaller again. There are thousands of hosts, most of them
// silent.
func receive[T any](stream grpc.ServerStreamingClient[T], what string, take func(*T) error, ended func(error)) {
	m, err := stream.Recv()
	if err != nil {
		ended(streamEnd(what, err))
		return
	}
	if err := take(m); err != nil {
		ended(err)
		return
	}
	go receive(stream, what, take, ended)
}

func (w *watch) host() {
	stream, err := agentv1.NewHostServiceClient(w.conn).WatchHost(w.ctx, &agentv1.WatchHostRequest{Fence: w.fleet.fence()})
	if err != nil {
		w.ended(fmt.Errorf("watch host: %w", err))
		return
	}
	receive(stream, "host", func(m *agentv1.WatchHostResponse) error { return w.takeFacts(m.GetHost()) }, w.ended)
}

func (w *watch) takeFacts(h *agentv1.Host) error {
	if len(h.GetGpus()) > maxGPUs {
		return fmt.Errorf("the agent reports %d GPUs, more than %d", len(h.GetGpus()), maxGPUs)
	}
	if len(h.GetIncarnation()) > maxIncarnation {
		return fmt.Errorf("the agent tells an incarnation of %d bytes, more than %d", len(h.GetIncarnation()), maxIncarnation)
	}
	if err := w.identify(h.GetIncarnation()); err != nil {
		return err
	}
	w.update(func() {
		w.facts, w.told = h, true
		w.nowReady()
	})
	w.answered()
	return nil
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

func (w *watch) enclaves() {
	stream, err := agentv1.NewEnclaveServiceClient(w.conn).WatchEnclaves(w.ctx, &agentv1.WatchEnclavesRequest{Fence: w.fleet.fence(), WithHost: true})
	if err != nil {
		w.ended(fmt.Errorf("watch enclaves: %w", err))
		return
	}
	receive(stream, "enclaves", w.take, w.ended)
}

func (w *watch) take(m *agentv1.WatchEnclavesResponse) error {
	if h := m.GetHost(); h != nil {
		w.hosted = true
		return w.takeFacts(h)
	}
	if w.snapshot == nil {
		w.change(m)
		return nil
	}
	if !w.hosted && w.streams.Load() == 1 {
		w.streams.Add(1)
		go w.host()
	}
	var err error
	if w.snapshot, err = w.collect(w.snapshot, m); w.snapshot == nil {
		w.dialled()
		w.answered()
	}
	return err
}

func streamEnd(what string, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the agent ended the watch of its %s", what)
	}
	return fmt.Errorf("watch %s: %w", what, err)
}

// collect gathers the snapshot; it returns nil once that is complete.
func (s *session) collect(snapshot map[string]*agentv1.Enclave, m *agentv1.WatchEnclavesResponse) (map[string]*agentv1.Enclave, error) {
	if e := m.GetChanged(); e != nil {
		snapshot[e.GetId()] = e
		if len(snapshot) > maxEnclaves {
			return nil, fmt.Errorf("the agent reports more than %d enclaves", maxEnclaves)
		}
	}
	if m.GetSynced() == nil {
		return snapshot, nil
	}
	var missing model.Observation
	s.update(func() {
		s.enclaves, s.synced = snapshot, true
		s.nowReady()
		missing = s.missing()
	})
	for _, e := range snapshot {
		s.fleet.observed(s.record.Name, missing.Incarnation, e)
	}
	s.fleet.synced(s.record.Name, missing, snapshot)
	return nil, nil
}

func (s *session) change(m *agentv1.WatchEnclavesResponse) {
	switch ev := m.GetEvent().(type) {
	case *agentv1.WatchEnclavesResponse_Changed:
		s.update(func() {
			if len(s.enclaves) < maxEnclaves || s.enclaves[ev.Changed.GetId()] != nil {
				s.enclaves[ev.Changed.GetId()] = ev.Changed
			}
		})
		s.fleet.observed(s.record.Name, s.incarnation(), ev.Changed)
	case *agentv1.WatchEnclavesResponse_DeletedId:
		s.update(func() {
			delete(s.enclaves, ev.DeletedId)
		})
		s.fleet.absent(s.record.Name, ev.DeletedId, model.Observation{Incarnation: s.incarnation()})
	}
}
