package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

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
