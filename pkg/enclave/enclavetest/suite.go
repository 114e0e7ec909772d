// Package enclavetest is the contract of enclave.Backend as a test suite: every
// backend passes it.
package enclavetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

// Harness is what the suite needs to know of a backend.
type Harness struct {
	// Open opens a backend; all backends opened by one harness share one host, and
	// the suite has at most one open at a time. Close closes it as the end of the
	// agent would.
	Open  func(t *testing.T) enclave.Backend
	Close func(t *testing.T, b enclave.Backend)
	// Spec returns a spec that boots and gets healthy within seconds.
	Spec func(t *testing.T) *agentv1.EnclaveSpec
	// Deaf changes a spec so that its guest ignores the power button.
	Deaf func(spec *agentv1.EnclaveSpec)
	// Missing changes a spec so that an image of it can't be found.
	Missing func(spec *agentv1.EnclaveSpec)
	// Kill ends an enclave from outside, as a crash of its VM would; nil if that
	// can't be done.
	Kill func(t *testing.T, id string)
	// Survives is whether enclaves outlive the backend.
	Survives bool
}

// Deadline bounds each wait of the suite.
const Deadline = 2 * time.Minute

// Run runs the suite; fresh makes a harness with an empty host of its own.
func Run(t *testing.T, fresh func(t *testing.T) Harness) {
	for rule, test := range map[string]func(*host){
		"a started enclave runs, gets an endpoint and tells who it is": testStart,
		"starting again changes nothing":                               testStartAgain,
		"an id has one life":                                           testOneLife,
		"the same id with something else is refused":                   testOtherSpec,
		"what can't be started is refused":                             testInvalid,
		"preparing names what is missing":                              testPrepare,
		"stop returns when the enclave is gone":                        testStop,
		"a deaf enclave is killed after the grace time":                testKill,
		"a second stop cuts the first one short":                       testShorterGrace,
		"the end of a stop's context does not end the stop":            testStopContext,
		"unknown enclaves":                                             testUnknown,
		"only an exited enclave can be removed":                        testRemove,
		"list gives everything by id, other clusters' too":             testList,
		"a watch begins with what is there and tells every change":     testWatch,
		"a watch ends with its context":                                testWatchEnds,
		"a death is seen":                                              testDeath,
		"enclaves outlive the backend":                                 testSurvive,
		"the console can be read and followed to its end":              testConsole,
	} {
		t.Run(strings.ReplaceAll(rule, " ", "-"), func(t *testing.T) {
			h := &host{T: t, Harness: fresh(t)}
			h.b = h.Open(t)
			t.Cleanup(h.clean)
			test(h)
		})
	}
}

// host is one test's host with its open backend.
type host struct {
	*testing.T
	Harness
	b enclave.Backend
}

// clean stops and removes everything: nothing may be left running.
func (h *host) clean() {
	ctx := contextOf(h.T)
	all, err := h.b.List(ctx)
	if err != nil {
		h.Error(err)
	}
	for _, o := range all {
		if err := h.b.Stop(ctx, o.ID, 0); err != nil {
			h.Errorf("clean up %s: %v", o.ID, err)
		}
		if err := h.b.Remove(ctx, o.ID); err != nil {
			h.Errorf("clean up %s: %v", o.ID, err)
		}
	}
	h.Close(h.T, h.b)
}

func (h *host) instance(id string, change ...func(*agentv1.EnclaveSpec)) enclave.Instance {
	spec := h.Spec(h.T)
	for _, c := range change {
		c(spec)
	}
	return enclave.Instance{ID: id, Spec: spec}
}

func (h *host) start(in enclave.Instance) {
	h.Helper()
	if err := h.b.Start(contextOf(h.T), in); err != nil {
		h.Fatalf("start %s: %v", in.ID, err)
	}
}

func (h *host) get(id string) enclave.Observed {
	h.Helper()
	o, err := h.b.Get(contextOf(h.T), id)
	if err != nil {
		h.Fatalf("get %s: %v", id, err)
	}
	return o
}

// until waits for an enclave to become so, by watching.
func (h *host) until(id, what string, is func(enclave.Observed) bool) enclave.Observed {
	h.Helper()
	ctx, cancel := contextWithCancel(h.T)
	defer cancel()
	events, err := h.b.Watch(ctx)
	if err != nil {
		h.Fatal(err)
	}
	for e := range events {
		if e.ID != id {
			continue
		}
		if o, err := h.b.Get(ctx, id); err == nil && is(o) {
			return o
		}
	}
	h.Fatalf("%s did not become so: %s", id, what)
	return enclave.Observed{}
}

func listening(o enclave.Observed) bool { return o.Endpoint != "" }
func exited(o enclave.Observed) bool    { return o.Phase == enclave.PhaseExited }

func testStart(h *host) {
	in := h.instance("a-r1-1")
	h.start(in)
	o := h.until(in.ID, "listening", listening)
	digest, _ := enclave.SpecDigest(in.Spec)
	if o.Phase != enclave.PhaseRunning || o.SpecDigest != digest || o.ClusterID != in.Spec.GetPlatform().GetClusterId() ||
		o.Reason != "" || o.StartTime.IsZero() {
		h.Errorf("observed %+v", o)
	}
	h.untilReady(o.Endpoint)
}

func testStartAgain(h *host) {
	in := h.instance("a-r1-1")
	h.start(in)
	before := h.until(in.ID, "listening", listening)
	h.start(in)
	if after := h.get(in.ID); after.Endpoint != before.Endpoint || !after.StartTime.Equal(before.StartTime) {
		h.Errorf("a second start made %+v of %+v", after, before)
	}
}

func testOneLife(h *host) {
	in := h.instance("a-r1-1")
	h.start(in)
	h.stop(in.ID, time.Second)
	h.start(in)
	if o := h.get(in.ID); !exited(o) {
		h.Errorf("an exited enclave was started again: %+v", o)
	}
}

func testOtherSpec(h *host) {
	h.start(h.instance("a-r1-1"))
	other := h.instance("a-r1-1", func(s *agentv1.EnclaveSpec) { s.Revision++ })
	if err := h.b.Start(contextOf(h.T), other); !errors.Is(err, enclave.ErrExists) {
		h.Errorf("another spec: %v, expected ErrExists", err)
	}
}

func testInvalid(h *host) {
	for rule, in := range map[string]enclave.Instance{
		"no spec":            {ID: "a-r1-1"},
		"an id with a slash": h.instance("../a"),
		"GPUs missing":       h.instance("a-r1-1", func(s *agentv1.EnclaveSpec) { s.Gpus = 1 }),
		"a broken config":    h.instance("a-r1-1", func(s *agentv1.EnclaveSpec) { s.Config = []byte("nonsense: 1") }),
	} {
		if err := h.b.Start(contextOf(h.T), in); enclave.ReasonOf(err) != enclave.ReasonInvalidSpec {
			h.Errorf("%s: %v, expected %s", rule, err, enclave.ReasonInvalidSpec)
		}
	}
	if all, err := h.b.List(contextOf(h.T)); err != nil || len(all) != 0 {
		h.Errorf("refused enclaves left %v, %v", all, err)
	}
}

func testPrepare(h *host) {
	spec := h.Spec(h.T)
	for range 2 {
		if err := h.b.Prepare(contextOf(h.T), spec); err != nil {
			h.Errorf("prepare: %v", err)
		}
	}
	h.Missing(spec)
	if err := h.b.Prepare(contextOf(h.T), spec); enclave.ReasonOf(err) != enclave.ReasonImageMissing {
		h.Errorf("prepare: %v, expected %s", err, enclave.ReasonImageMissing)
	}
	if all, err := h.b.List(contextOf(h.T)); err != nil || len(all) != 0 {
		h.Errorf("preparing left %v, %v", all, err)
	}
}

func (h *host) stop(id string, grace time.Duration) {
	h.Helper()
	if err := h.b.Stop(contextOf(h.T), id, grace); err != nil {
		h.Fatalf("stop %s: %v", id, err)
	}
}

func testStop(h *host) {
	in := h.instance("a-r1-1")
	h.start(in)
	endpoint := h.until(in.ID, "listening", listening).Endpoint
	h.stop(in.ID, Deadline)
	o := h.get(in.ID)
	if !exited(o) || o.Exit.Reason != enclave.ReasonPoweredOff || o.Exit.Time.IsZero() || o.Endpoint != "" {
		h.Errorf("after the stop: %+v, expected it to have powered off", o)
	}
	if answers(endpoint) {
		h.Error("somebody listens after the stop")
	}
	h.stop(in.ID, 0)
}

func testKill(h *host) {
	in := h.instance("a-r1-1", h.Deaf)
	h.start(in)
	h.until(in.ID, "listening", listening)
	begin := time.Now()
	h.stop(in.ID, 200*time.Millisecond)
	if took := time.Since(begin); took < 200*time.Millisecond {
		h.Errorf("killed after %s, the grace time was 200ms", took)
	}
	if o := h.get(in.ID); o.Exit.Reason != enclave.ReasonKilled {
		h.Errorf("ended with %+v, expected %s", o.Exit, enclave.ReasonKilled)
	}
}

func testShorterGrace(h *host) {
	in := h.instance("a-r1-1", h.Deaf)
	h.start(in)
	h.until(in.ID, "listening", listening)
	first := make(chan error, 1)
	ctx := contextOf(h.T)
	go func() { first <- h.b.Stop(ctx, in.ID, time.Hour) }()
	h.stop(in.ID, 0)
	if err := <-first; err != nil {
		h.Errorf("the first stop: %v", err)
	}
}

func testStopContext(h *host) {
	in := h.instance("a-r1-1", h.Deaf)
	h.start(in)
	h.until(in.ID, "listening", listening)
	ctx, cancel := contextWithCancel(h.T)
	cancel()
	if err := h.b.Stop(ctx, in.ID, 100*time.Millisecond); !errors.Is(err, ctx.Err()) {
		h.Errorf("stop with an ended context: %v", err)
	}
	h.until(in.ID, "killed", exited)
}
