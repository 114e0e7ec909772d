package agent

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/ledger"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// facts puts together what is told of the host.
func (a *Agent) facts(ctx context.Context) *agentv1.Host {
	view, err := a.ledger.View(ctx)
	if err != nil && ctx.Err() == nil {
		a.conditions.set(condition{code: CodeLedgerFailed, severity: agentv1.Severity_SEVERITY_ERROR, text: err.Error()})
	}
	f := a.fence.Current()
	h := &agentv1.Host{
		Name: a.cfg.Name, AgentVersion: a.cfg.Version, BootId: a.cfg.BootID, Incarnation: a.incarnation,
		ClusterId: f.Cluster, Epoch: f.Epoch, Profile: a.cfg.Policy.Profile, Backend: a.cfg.Backend.Name(),
		Cpus:        &agentv1.Capacity{Total: uint64(max(a.cfg.Capacity.CPUs-a.cfg.Reserved.CPUs, 0))},
		MemoryMib:   &agentv1.Capacity{Total: uint64(max(a.cfg.Capacity.MemoryMiB-a.cfg.Reserved.MemoryMiB, 0))},
		GpuOffers:   []uint32{0},
		GpuCounts:   []uint32{0},
		ObserveTime: timestamppb.New(a.cfg.Now()),
	}
	var seen gpu.Snapshot
	if s := a.seen.Load(); s != nil {
		seen = *s
	}
	a.tellGPUs(h, seen, view)
	if view.Reconciled {
		h.Cpus.Free, h.MemoryMib.Free = uint64(view.Free.CPUs), uint64(view.Free.MemoryMiB)
	}
	h.Conditions = a.conditions.list()
	return h
}

// tellGPUs adds the GPUs, their conditions and what can be had of them. Nothing
// is free until the ledger was compared with what runs.
func (a *Agent) tellGPUs(h *agentv1.Host, seen gpu.Snapshot, view ledger.View) {
	s, rules := gpu.Quarantine(seen, view.Quarantined), a.cfg.rules(false)
	idle := gpu.Assess(s, nil, rules)
	var about []condition
	for _, card := range idle {
		holder := view.Held[card.BDF]
		about = append(about, cardConditions(card)...)
		if card.Offered && holder == "" && view.Reconciled {
			h.FreeGpus++
		}
		h.Gpus = append(h.Gpus, gpuProto(card, holder))
	}
	for _, c := range append(slices.Clone(seen.Conditions), view.Conditions...) {
		about = append(about, condition{code: upper(c.Code), severity: severityOf(c.Severity), text: c.Text, since: c.Since})
	}
	a.conditions.replace(func(code string) bool { return !ownCodes[code] }, about)
	h.GpuCounts = append(h.GpuCounts, counts(gpu.Offers(settled(s), nil, rules))...)
	if view.Reconciled {
		h.GpuOffers = append(h.GpuOffers, counts(gpu.Offers(s, view.Held, rules))...)
	}
	list := a.conditions.list()
	for _, g := range h.GetGpus() {
		for _, c := range list {
			if c.GetSubject() == g.GetBdf() {
				g.Conditions = append(g.Conditions, c)
			}
		}
	}
}

// ownCodes are the conditions of a host that the inventory has no say in.
var ownCodes = map[string]bool{
	CodeInsecureAllowed: true, CodeInventoryFailed: true, CodeTEEMissing: true, CodeBackendUnavailable: true,
	CodeRecordCorrupt: true, CodeFenceLost: true, CodeStarting: true, CodeLedgerFailed: true, CodeForeign: true,
}

// cardConditions says why a card could not be given to an enclave were it free.
func cardConditions(card gpu.Card) []condition {
	var out []condition
	for _, why := range card.Why {
		severity := agentv1.Severity_SEVERITY_WARNING
		if why.Code == gpu.ReasonSick || why.Code == gpu.ReasonUnreadable {
			severity = agentv1.Severity_SEVERITY_ERROR
		}
		out = append(out, condition{
			code: "GPU_" + upper(string(why.Code)), subject: card.BDF.String(), severity: severity,
			text: fmt.Sprintf("GPU %s is not offered: %s", card.BDF, why.Text),
		})
	}
	return out
}

func gpuProto(card gpu.Card, holder string) *agentv1.Gpu {
	return &agentv1.Gpu{
		Bdf: card.BDF.String(), Uuid: card.UUID, Model: card.Model, Generation: string(card.Generation),
		MemoryMib: card.MemoryMiB, Mode: string(card.Mode), Driver: string(card.Driver),
		NumaNode: int32(card.NUMANode), //nolint:gosec // a node's number is small
		Healthy:  card.Offered, EnclaveId: holder,
	}
}

// settled is the snapshot as if no change of mode were under way: what a host
// can give when idle does not change while it is being given.
func settled(s gpu.Snapshot) gpu.Snapshot {
	s.GPUs, s.Switches = slices.Clone(s.GPUs), slices.Clone(s.Switches)
	switching := func(r gpu.Reason) bool { return r.Code == gpu.ReasonSwitching }
	under := false
	for i, g := range s.GPUs {
		if !slices.ContainsFunc(g.Reasons, switching) {
			continue
		}
		under = true
		s.GPUs[i].Reasons = slices.DeleteFunc(slices.Clone(g.Reasons), switching)
		s.GPUs[i].Healthy = len(s.GPUs[i].Reasons) == 0
	}
	for i, w := range s.Switches {
		if under && !w.Healthy && len(slices.DeleteFunc(slices.Clone(w.Reasons), switching)) == 0 {
			s.Switches[i].Healthy, s.Switches[i].Reasons = true, nil
		}
	}
	return s
}

func counts(offers []int) []uint32 {
	out := make([]uint32, len(offers))
	for i, n := range offers {
		out[i] = uint32(n) //nolint:gosec // at most a host's GPUs
	}
	return out
}
