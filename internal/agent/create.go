package agent

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/internal/agent/records"
	"github.com/casemate-dev/casemate/internal/fence"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// create claims what an enclave needs, records it and begins to boot it. It
// returns once claim and record are durable.
func (a *Agent) create(ctx context.Context, f fence.Fence, id string, spec *agentv1.EnclaveSpec, validateOnly bool) (*agentv1.Enclave, error) {
	digest, err := enclave.SpecDigest(spec)
	if err != nil {
		return nil, rpc.FieldError("spec", ReasonSpecMismatch, err.Error())
	}
	done, err := a.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := a.fence.Holds(f); err != nil {
		return nil, err
	}
	if e := a.board.get(id); e != nil {
		return existing(e, digest)
	}
	if err := a.cfg.Policy.checkSpec(f.Cluster, spec); err != nil {
		return nil, err
	}
	if err := a.makeRoom(); err != nil {
		return nil, err
	}
	spec = proto.CloneOf(spec)
	now := a.cfg.Now()
	rec := records.Record{
		ID: id, ClusterID: f.Cluster, Spec: spec, SpecDigest: digest,
		State: agentv1.EnclaveState_ENCLAVE_STATE_PREPARING, Created: now, Changed: now,
	}
	if validateOnly {
		return a.couldClaim(ctx, rec)
	}
	return a.begin(ctx, rec)
}

// existing answers for an id that is taken: the enclave of the same spec as it
// is, in whatever state, since an id has one life.
func existing(e *agentv1.Enclave, digest string) (*agentv1.Enclave, error) {
	switch {
	case e.GetSpec() == nil && e.GetState() == agentv1.EnclaveState_ENCLAVE_STATE_STOPPED:
		return nil, rpc.Precondition(ReasonStopped, e.GetId(),
			"this enclave was stopped before it was created: create another id")
	case e.GetSpecDigest() != digest:
		return nil, rpc.Error(codes.AlreadyExists, ReasonSpecDiffers,
			fmt.Sprintf("enclave %s exists with another spec: create another id", e.GetId()),
			"spec_digest", e.GetSpecDigest())
	default:
		return e, nil
	}
}

// begin claims, records, and starts the monitor. The claim comes first: a record
// without a claim would boot something that holds nothing.
func (a *Agent) begin(ctx context.Context, rec records.Record) (*agentv1.Enclave, error) {
	choice := a.chooser(ctx, rec.Spec)
	claim, err := a.claim(ctx, rec, choice)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	for _, b := range claim.GPUs {
		rec.GPUs = append(rec.GPUs, b.String())
	}
	if choice.got.SwitchFirst {
		rec.Mode = string(choice.got.Mode)
	}
	if err := a.records.Put(rec); err != nil {
		// ctx may have ended; the claim must not stay for that.
		if release := a.ledger.Release(context.WithoutCancel(ctx), rec.ID); release != nil {
			a.cfg.Log.Error("claim left behind", "enclave", rec.ID, "error", release)
		}
		return nil, unwritten(err)
	}
	a.cfg.Log.Info("enclave created", "enclave", rec.ID, "cluster", rec.ClusterID, "gpus", len(rec.GPUs))
	m := newMonitor(a, rec, true)
	e := m.publish()
	a.watchOver(m)
	wake(a.changed)
	return e, nil
}

// claim claims what an enclave without a record needs. A claim that is there
// already was left behind by a record that could not be written: it is made anew,
// since nobody knows any more which mode its cards were to be in.
func (a *Agent) claim(ctx context.Context, rec records.Record, c *choice) (ledger.Claim, error) {
	claim, err := a.ledger.Claim(ctx, request(rec, c.choose))
	if err != nil || c.asked {
		return claim, err
	}
	if err := a.ledger.Release(ctx, rec.ID); err != nil {
		return claim, err
	}
	return a.ledger.Claim(ctx, request(rec, c.choose))
}

func request(rec records.Record, choose func(gpu.Held, map[gpu.BDF]string) ([]gpu.BDF, []gpu.BDF, error)) ledger.Request {
	return ledger.Request{
		EnclaveID: rec.ID, SpecDigest: rec.SpecDigest, ClusterID: rec.ClusterID,
		CPUs: int(rec.Spec.GetCpus()), MemoryMiB: int64(rec.Spec.GetMemoryMib()), //nolint:gosec // bounded by the proto's rules
		Choose: choose,
	}
}

// couldClaim says what begin would do, and does nothing.
func (a *Agent) couldClaim(ctx context.Context, rec records.Record) (*agentv1.Enclave, error) {
	view, err := a.ledger.View(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := a.chooser(ctx, rec.Spec).choose(view.Held, view.Quarantined); err != nil {
		return nil, err
	}
	want := ledger.Capacity{CPUs: int(rec.Spec.GetCpus()), MemoryMiB: int64(rec.Spec.GetMemoryMib())} //nolint:gosec // bounded
	if want.CPUs > view.Free.CPUs || want.MemoryMiB > view.Free.MemoryMiB {
		return nil, &ledger.CapacityError{Want: want, Free: view.Free}
	}
	return &agentv1.Enclave{Id: rec.ID, Spec: rec.Spec, SpecDigest: rec.SpecDigest, ClusterId: rec.ClusterID}, nil
}

// choice chooses the GPUs of one enclave.
type choice struct {
	ctx  context.Context // of the one call that it serves
	a    *Agent
	spec *agentv1.EnclaveSpec
	// asked says whether a choice was asked for, got what it was.
	asked bool
	got   gpu.Allocation
}

func (a *Agent) chooser(ctx context.Context, spec *agentv1.EnclaveSpec) *choice {
	return &choice{ctx: ctx, a: a, spec: spec}
}

// choose is a ledger.Request's Choose. It looks at the cards while no other claim
// can be made, so that their mode is the one they are in.
func (c *choice) choose(held gpu.Held, quarantined map[gpu.BDF]string) (gpus, switches []gpu.BDF, err error) {
	c.asked = true
	if c.spec.GetGpus() == 0 {
		return nil, nil, nil
	}
	s, err := c.a.look(c.ctx)
	if err != nil {
		return nil, nil, err
	}
	rules := c.a.cfg.rules(c.spec.GetPlatform().GetDebug())
	c.got, err = gpu.Allocate(gpu.Quarantine(s, quarantined), held, int(c.spec.GetGpus()), rules)
	if err != nil {
		return nil, nil, fmt.Errorf("allocate: %w", err)
	}
	for _, g := range c.got.GPUs {
		gpus = append(gpus, g.BDF)
	}
	for _, w := range c.got.Switches {
		switches = append(switches, w.BDF)
	}
	return gpus, switches, nil
}
