package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

// monitor owns one enclave: its record, its way to its end, and what is told of
// it. Run's goroutine is the only one that touches the fields below the line;
// whatever may take time is a task of its own, which hands its result back.
type monitor struct {
	a    *Agent
	log  *slog.Logger
	news chan struct{} // a token when the backend has news
	asks chan stopAsk
	done chan struct{} // closed when run has ended
	work sync.WaitGroup

	// results are what finished tasks want done.
	results chan func()
	tasks   map[string]*task
	// next is before when a task of this name is not begun again.
	next map[string]time.Time

	rec        records.Record
	unwritten  bool // rec is newer than its file
	claimed    bool
	strange    bool // the enclave has no spec to record
	foreign    bool // another cluster's: it is looked at and left alone
	prepared   bool
	started    bool // the backend may have something of it
	activate   bool // the claim is to be made active
	gone       bool // proved: nothing of it runs
	obs        enclave.Observed
	exitSeen   time.Time
	guest      Guest
	endpoint   string // of guest
	boot       *guestapi.BootStatus
	silent     time.Time // since when the guest does not answer
	lastErr    error     // of the guest
	attested   bool
	verdict    *attest.Verdict
	conditions *conditionSet
}

// task is work in progress.
type task struct{ cancel context.CancelFunc }

func newMonitor(a *Agent, rec records.Record, claimed bool) *monitor {
	return &monitor{
		a: a, log: a.cfg.Log.With("enclave", rec.ID), rec: rec, claimed: claimed,
		news: make(chan struct{}, 1), asks: make(chan stopAsk), done: make(chan struct{}),
		results: make(chan func()), tasks: map[string]*task{}, next: map[string]time.Time{},
		conditions: newConditionSet(a.cfg.Now),
	}
}

// run drives the enclave until it has ended and holds nothing, or ctx ends:
// then the enclave goes on as it is.
func (m *monitor) run(ctx context.Context) {
	defer close(m.done)
	defer m.work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer m.closeGuest()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		m.advance(ctx)
		m.publish()
		if m.finished() {
			m.a.conditions.clear(CodeForeign, m.rec.ID)
			return
		}
		timer.Reset(m.untilNext())
		select {
		case <-ctx.Done():
			return
		case <-m.news:
			m.next[taskObserve] = time.Time{}
		case then := <-m.results:
			then()
		case <-timer.C:
		case ask := <-m.asks:
			err := m.onStop(ask)
			m.publish()
			ask.reply <- err
		}
	}
}

// advance begins what is to be done next, as things stand.
func (m *monitor) advance(ctx context.Context) {
	m.judgeExit()
	m.rewrite()
	switch {
	case m.rec.StopAsked() || m.rec.Ended():
		m.end(ctx)
	case m.rec.State == agentv1.EnclaveState_ENCLAVE_STATE_PREPARING:
		m.prepare(ctx)
	case !m.started:
		m.start(ctx)
	default:
		m.follow(ctx)
	}
}

func (m *monitor) finished() bool { return m.rec.Ended() && m.gone && !m.claimed && !m.unwritten }

// begin runs work as a task, unless one of this name runs or is not due. What
// work returns is done by the monitor's goroutine, if it still runs.
func (m *monitor) begin(ctx context.Context, name string, timeout time.Duration, work func(context.Context) func()) {
	if m.tasks[name] != nil || m.a.cfg.Now().Before(m.next[name]) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	t := &task{cancel}
	m.tasks[name] = t
	m.work.Go(func() {
		defer cancel()
		then := work(bounded)
		finish := func() {
			if m.tasks[name] == t {
				delete(m.tasks, name)
				then()
			}
		}
		select {
		case m.results <- finish:
		case <-ctx.Done():
		}
	})
}

// drop ends a task and forgets its result.
func (m *monitor) drop(name string) {
	if t := m.tasks[name]; t != nil {
		t.cancel()
		delete(m.tasks, name)
	}
}

func (m *monitor) later(name string, d time.Duration) { m.next[name] = m.a.cfg.Now().Add(d) }

// untilNext is how long nothing is due.
func (m *monitor) untilNext() time.Duration {
	now, least := m.a.cfg.Now(), m.a.cfg.Times.Observe
	for name, at := range m.next {
		if d := at.Sub(now); d > 0 && m.tasks[name] == nil {
			least = min(least, d)
		}
	}
	return max(least, time.Millisecond)
}

// enter brings the enclave to a state, and writes it down if it is a new one.
func (m *monitor) enter(o outcome) {
	old := m.rec
	m.rec.State, m.rec.Reason, m.rec.Text = o.state, o.reason, o.text
	m.rec.WasHealthy = old.WasHealthy || o.state == agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY
	if old.State == o.state && old.Reason == o.reason {
		return
	}
	if old.State != o.state {
		m.rec.Changed = m.a.cfg.Now()
		m.log.Info("enclave state", "state", stateName(o.state), "was", stateName(old.State), "reason", o.reason, "text", o.text)
	}
	m.unwritten = true
	m.next[taskWrite] = time.Time{}
	m.rewrite()
}

// fail ends an enclave that did not come up or did not stay up.
func (m *monitor) fail(o outcome) {
	o.state = agentv1.EnclaveState_ENCLAVE_STATE_FAILED
	m.enter(o)
}

// rewrite writes the record if it is newer than its file.
func (m *monitor) rewrite() {
	if !m.unwritten || m.a.cfg.Now().Before(m.next[taskWrite]) {
		return
	}
	if m.strange {
		m.unwritten = false
		return
	}
	if err := m.a.records.Put(m.rec); err != nil {
		m.later(taskWrite, m.a.cfg.Times.Retry)
		m.conditions.set(condition{code: CodeRecordUnwritten, subject: m.rec.ID, severity: agentv1.Severity_SEVERITY_ERROR,
			text: fmt.Sprintf("what is told here would be lost with a restart of the agent: %v", err)})
		return
	}
	m.unwritten = false
	m.conditions.clear(CodeRecordUnwritten, m.rec.ID)
}

// publish tells how the enclave is.
func (m *monitor) publish() *agentv1.Enclave {
	r := m.rec
	e := &agentv1.Enclave{
		Id: r.ID, Spec: r.Spec, SpecDigest: r.SpecDigest, State: r.State, Reason: r.Reason, Text: r.Text,
		Gpus: r.GPUs, Claimed: m.claimed, Verdict: verdictProto(m.verdict), ClusterId: r.ClusterID,
		CreateTime: timestamppb.New(r.Created), StateTime: timestamppb.New(r.Changed),
	}
	if m.obs.Phase == enclave.PhaseRunning {
		e.Endpoint = m.obs.Endpoint
	}
	if m.boot != nil {
		e.Stages = m.boot.Proto()
	}
	e.Conditions = m.conditions.list()
	if marks := m.a.cfg.Policy.marks(r.Spec); r.Spec != nil && len(marks) > 0 {
		e.Conditions = append(e.Conditions, &agentv1.Condition{
			Code: CodeInsecure, Severity: agentv1.Severity_SEVERITY_WARNING, Subject: r.ID, Since: e.CreateTime,
			Text: fmt.Sprintf("this enclave protects nothing: %v", marks),
		})
	}
	m.a.metrics.changed(m.a.board.get(e.GetId()), e)
	return m.a.board.publish(e)
}

// stopAsk asks a monitor to stop its enclave.
type stopAsk struct {
	by    time.Time
	reply chan error
}

// askStop has the enclave stopped, and returns once that is durable.
func (m *monitor) askStop(ctx context.Context, grace time.Duration) error {
	ask := stopAsk{m.a.cfg.Now().Add(grace), make(chan error, 1)}
	select {
	case m.asks <- ask:
	case <-m.done:
		return m.endedWithout()
	case <-ctx.Done():
		return fmt.Errorf("stop enclave %s: %w", m.rec.ID, ctx.Err())
	}
	select {
	case err := <-ask.reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop enclave %s: %w", m.rec.ID, ctx.Err())
	}
}

// endedWithout answers for an ask that the monitor did not live to see.
func (m *monitor) endedWithout() error {
	if e := m.a.board.get(m.rec.ID); e != nil && ended(e.GetState()) && !e.GetClaimed() {
		return nil
	}
	return rpc.Error(codes.Unavailable, "STOPPING", "the agent is being restarted: try again")
}
