package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
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

	mu       sync.Mutex
	record   model.Host
	status   Status
	text     string
	facts    *agentv1.Host
	enclaves map[string]*agentv1.Enclave
	// synced: the enclaves are all there are; told: the facts are from since the
	// host was last lost. Neither is believed for anything new until both hold.
	synced  bool
	told    bool
	seen    time.Time
	changed chan struct{}
	version int64
}

func newSession(f *Fleet, record model.Host) *session {
	return &session{
		fleet: f, record: record, status: Joining, done: make(chan struct{}),
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

// run keeps watching the agent until ctx ends.
func (s *session) run(ctx context.Context) {
	defer close(s.done)
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 100*time.Millisecond, 5*time.Second
	for ctx.Err() == nil {
		start := s.fleet.cfg.Now()
		err := s.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		s.lost(err)
		if s.fleet.cfg.Now().Sub(start) > retry.MaxInterval {
			retry.Reset()
		}
		if !wait(ctx, retry.NextBackOff()) {
			return
		}
	}
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

func (s *session) lost(err error) {
	status := Unreachable
	switch rpc.Reason(err) {
	case "FOREIGN_CLUSTER", "STALE_EPOCH":
		status = Refused
	}
	s.update(func() {
		if s.status != status {
			s.fleet.cfg.Log.Warn("host lost", "host", s.record.Name, "status", string(status), "error", err)
		}
		s.status, s.text, s.synced = status, clip(rpc.Text(err), maxText), false
		s.told = false
	})
}

// watch follows the host's facts and enclaves until one of the streams breaks.
// The facts are followed by the caller's goroutine: there are thousands of hosts,
// and a goroutine less for each.
func (s *session) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cancel(s.watchEnclaves(ctx))
	}()
	cancel(s.watchHost(ctx))
	<-ended
	return context.Cause(ctx)
}

func (s *session) watchHost(ctx context.Context) error {
	stream, err := agentv1.NewHostServiceClient(s.conn).WatchHost(ctx, &agentv1.WatchHostRequest{Fence: s.fleet.fence()})
	if err != nil {
		return fmt.Errorf("watch host: %w", err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return streamEnd("host", err)
		}
		h := m.GetHost()
		if len(h.GetGpus()) > maxGPUs {
			return fmt.Errorf("the agent reports %d GPUs, more than %d", len(h.GetGpus()), maxGPUs)
		}
		s.update(func() {
			s.facts, s.told, s.seen = h, true, s.fleet.cfg.Now()
			s.nowReady()
		})
	}
}

func (s *session) nowReady() {
	if s.told && s.synced && s.status != Ready {
		s.status, s.text = Ready, ""
		s.fleet.cfg.Log.Info("host ready", "host", s.record.Name, "gpus", len(s.facts.GetGpus()))
	}
}

func (s *session) watchEnclaves(ctx context.Context) error {
	stream, err := agentv1.NewEnclaveServiceClient(s.conn).WatchEnclaves(ctx, &agentv1.WatchEnclavesRequest{Fence: s.fleet.fence()})
	if err != nil {
		return fmt.Errorf("watch enclaves: %w", err)
	}
	snapshot := map[string]*agentv1.Enclave{}
	for {
		m, err := stream.Recv()
		if err != nil {
			return streamEnd("enclaves", err)
		}
		if snapshot != nil {
			if snapshot, err = s.collect(snapshot, m); err != nil {
				return err
			}
			continue
		}
		s.change(m)
	}
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
	s.update(func() {
		s.enclaves, s.synced, s.seen = snapshot, true, s.fleet.cfg.Now()
		s.nowReady()
	})
	for _, e := range snapshot {
		s.fleet.observed(s.record.Name, e)
	}
	s.fleet.synced(s.record.Name, snapshot)
	return nil, nil
}

func (s *session) change(m *agentv1.WatchEnclavesResponse) {
	switch ev := m.GetEvent().(type) {
	case *agentv1.WatchEnclavesResponse_Changed:
		s.update(func() {
			if len(s.enclaves) < maxEnclaves || s.enclaves[ev.Changed.GetId()] != nil {
				s.enclaves[ev.Changed.GetId()] = ev.Changed
			}
			s.seen = s.fleet.cfg.Now()
		})
		s.fleet.observed(s.record.Name, ev.Changed)
	case *agentv1.WatchEnclavesResponse_DeletedId:
		s.update(func() {
			delete(s.enclaves, ev.DeletedId)
			s.seen = s.fleet.cfg.Now()
		})
		s.fleet.absent(s.record.Name, ev.DeletedId)
	}
}
