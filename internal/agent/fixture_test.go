package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is an enclave.Backend in memory. It outlives the agents of a test, as
// a host's enclaves do.
type backend struct {
	mu       sync.Mutex
	vms      map[string]*vm
	watchers []chan enclave.Event
	prepared int
	// What goes wrong: nil is nothing. Hooks run without the lock.
	prepareErr, startErr, listErr error
	onPrepare                     func(context.Context)
	onStart                       func(enclave.Instance)
	onStop                        func(context.Context, string) error
}

// vm is an enclave in memory.
type vm struct {
	obs   enclave.Observed
	guest *guest
}

func newBackend() *backend { return &backend{vms: map[string]*vm{}} }

func (b *backend) Name() string { return "fake" }

func (b *backend) Prepare(ctx context.Context, _ *agentv1.EnclaveSpec) error {
	if b.onPrepare != nil {
		b.onPrepare(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prepared++
	return errors.Join(b.prepareErr, ctx.Err())
}

func (b *backend) Start(_ context.Context, in enclave.Instance) error {
	if b.onStart != nil {
		b.onStart(in)
	}
	if err := in.Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.startErr != nil {
		return b.startErr
	}
	if b.vms[in.ID] != nil {
		return nil
	}
	b.put(in)
	return nil
}

// put needs the lock.
func (b *backend) put(in enclave.Instance) *vm {
	digest, err := enclave.SpecDigest(in.Spec)
	if err != nil {
		panic(err)
	}
	v := &vm{guest: newGuest(in.Spec), obs: enclave.Observed{
		ID: in.ID, ClusterID: in.Spec.GetPlatform().GetClusterId(), Spec: in.Spec, SpecDigest: digest, GPUs: in.GPUs,
		Phase: enclave.PhaseRunning, Endpoint: in.ID + ":443", StartTime: time.Now(),
	}}
	b.vms[in.ID] = v
	b.tell(in.ID)
	return v
}

// run boots an enclave past any agent.
func (b *backend) run(in enclave.Instance) *vm {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.put(in)
}

func (b *backend) tell(id string) {
	for _, w := range b.watchers {
		w <- enclave.Event{ID: id}
	}
}

func (b *backend) Get(_ context.Context, id string) (enclave.Observed, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.vms[id]; v != nil {
		return v.obs, nil
	}
	return enclave.Observed{}, enclave.ErrNotFound
}

func (b *backend) List(context.Context) ([]enclave.Observed, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []enclave.Observed
	for _, v := range b.vms {
		out = append(out, v.obs)
	}
	slices.SortFunc(out, func(x, y enclave.Observed) int { return cmp.Compare(x.ID, y.ID) })
	return out, b.listErr
}

func (b *backend) Stop(ctx context.Context, id string, _ time.Duration) error {
	if b.onStop != nil {
		if err := b.onStop(ctx, id); err != nil {
			return err
		}
	}
	if !b.exit(id, enclave.ReasonPoweredOff) {
		return enclave.ErrNotFound
	}
	return nil
}

// exit ends a VM.
func (b *backend) exit(id, reason string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.vms[id]
	if v == nil {
		return false
	}
	if v.obs.Phase == enclave.PhaseRunning {
		v.obs.Phase, v.obs.Endpoint = enclave.PhaseExited, ""
		v.obs.Exit = enclave.Exit{Reason: reason, Text: "it ended", Time: time.Now()}
		b.tell(id)
	}
	return true
}

func (b *backend) Remove(_ context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.vms[id]; v != nil && v.obs.Phase == enclave.PhaseRunning {
		return enclave.ErrRunning
	}
	delete(b.vms, id)
	return nil
}

func (b *backend) Console(_ context.Context, id string, _ enclave.ConsoleOptions) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.vms[id] == nil {
		return nil, enclave.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader([]byte("boot\n"))), nil
}

func (b *backend) Watch(ctx context.Context) (<-chan enclave.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan enclave.Event, 4096)
	b.watchers = append(b.watchers, c)
	for id := range b.vms { // as the contract has it: what came before is not lost
		c <- enclave.Event{ID: id}
	}
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.watchers = slices.DeleteFunc(b.watchers, func(w chan enclave.Event) bool { return w == c })
		close(c)
	})
	return c, nil
}

func (b *backend) guest(id string) *guest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.vms[id].guest
}

func (b *backend) running() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for id, v := range b.vms {
		if v.obs.Phase == enclave.PhaseRunning {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// dial returns the guest behind an endpoint.
func (b *backend) dial(endpoint string) (Guest, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.vms {
		if v.obs.Endpoint == endpoint {
			return v.guest, nil
		}
	}
	return nil, errors.New("connection refused")
}

// guest is a guest in memory: healthy from the start unless a test says otherwise.
type guest struct {
	spec *agentv1.EnclaveSpec

	mu      sync.Mutex
	status  guestapi.BootStatus
	changed chan struct{}
	hung    bool
	forge   func(*evidence.Document)
}

func newGuest(spec *agentv1.EnclaveSpec) *guest {
	g := &guest{spec: spec, changed: make(chan struct{})}
	g.status = guestapi.BootStatus{Version: 1, Ready: true}
	for _, name := range guestapi.Stages() {
		g.status.Stages = append(g.status.Stages, guestapi.Stage{Name: name, Status: guestapi.StatusOK})
	}
	return g
}

// set changes the boot status.
func (g *guest) set(change func(*guestapi.BootStatus)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status.Stages = slices.Clone(g.status.Stages)
	change(&g.status)
	g.status.Version++
	close(g.changed)
	g.changed = make(chan struct{})
}

// hang makes the guest silent, or lets it speak again.
func (g *guest) hang(on bool) {
	g.mu.Lock()
	g.hung = on
	g.mu.Unlock()
	g.set(func(*guestapi.BootStatus) {})
}

func (g *guest) Boot(ctx context.Context, after uint64, wait time.Duration) (*guestapi.BootStatus, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		g.mu.Lock()
		status, changed, hung := g.status, g.changed, g.hung
		g.mu.Unlock()
		status.Stages = slices.Clone(status.Stages)
		late := timer.C
		if hung {
			late = nil
		} else if status.Version > after {
			return &status, nil
		}
		select {
		case <-changed:
		case <-late:
			return &status, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (g *guest) Attestation(_ context.Context, nonce [32]byte) ([]byte, [32]byte, error) {
	key := sha256.Sum256([]byte("the guest's key"))
	doc := &evidence.Document{
		Format: attest.FormatSimulated, Nonce: nonce, TLSKeyDigest: key, ConfigDigest: sha256.Sum256(g.spec.GetConfig()),
		PlatformDigest: evidence.PlatformDigest(g.spec.GetPlatform()), Insecure: []string{evidence.MarkSimulated},
	}
	g.mu.Lock()
	forge := g.forge
	g.mu.Unlock()
	if forge != nil {
		forge(doc)
	}
	report := simulated.Report{
		Measurement: simulated.Measurement(simulated.ShapeOf(g.spec)), HostData: doc.PlatformDigest,
		ReportData: doc.ReportData(), Issued: time.Now(),
	}
	doc.Report = report.Encode()
	raw, err := doc.Encode()
	return raw, key, err
}

func (g *guest) Close() {}

// discard is a log for nobody.
func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// changedSpec is the spec with a change, measured anew.
func changedSpec(s *agentv1.EnclaveSpec, change func(*agentv1.EnclaveSpec)) *agentv1.EnclaveSpec {
	s = proto.CloneOf(s)
	change(s)
	s.ExpectedMeasurements = []string{simulated.MeasurementHex(s)}
	return s
}

// eventually fails the test unless is holds soon.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
