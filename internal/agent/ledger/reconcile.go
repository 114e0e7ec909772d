package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Observed is something that exists on the host and holds resources: an
// enclave that the backend knows, or, with an empty EnclaveID, anything else
// that has a card, such as a process with its VFIO file open.
type Observed struct {
	EnclaveID  string
	SpecDigest string
	ClusterID  string
	GPUs       []gpu.BDF
	Switches   []gpu.BDF
	CPUs       int
	MemoryMiB  int64
	Text       string // for people: what it is, such as "process 4211 has /dev/vfio/17 open"
}

// Report says what Reconcile found and did.
type Report struct {
	// Kept are claims whose enclave exists.
	Kept []Claim
	// Adopted are claims made anew for enclaves that exist without one.
	Adopted []Claim
	// Released are claims from before a reboot whose enclave is gone.
	Released []Claim
	// Missing are claims of this boot without an enclave. They keep holding
	// their cards: the caller puts the hardware back and releases them, or
	// starts the enclave.
	Missing []Claim
	// Quarantined are the cards that an unknown or contradictory holder has.
	Quarantined map[gpu.BDF]string
}

// Reconcile compares the ledger with everything that exists on the host and
// makes it true: the list must be complete. It may be called again; cards that
// an earlier call put in quarantine leave it if nobody unknown has them any
// more. From the first success on, claims can be made.
func (l *Ledger) Reconcile(ctx context.Context, observed []Observed) (Report, error) {
	c, err := l.take(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("reconcile ledger: %w", err)
	}
	defer l.give(c)
	r := reconciliation{ledger: l, next: c.state.clone(), report: Report{Quarantined: map[gpu.BDF]string{}}}
	r.run(observed)
	if err := l.commit(c, r.next); err != nil {
		return Report{}, fmt.Errorf("reconcile ledger: %w", err)
	}
	c.reconciled = true
	return r.report, nil
}

// reconciliation is the work of one Reconcile on a copy of the state.
type reconciliation struct {
	ledger *Ledger
	next   state
	report Report
}

func (r *reconciliation) run(observed []Observed) {
	for card, q := range r.next.quarantine {
		if q.Observed {
			delete(r.next.quarantine, card)
		}
	}
	byID := map[string][]Observed{}
	for _, o := range observed {
		byID[o.EnclaveID] = append(byID[o.EnclaveID], o)
	}
	for _, id := range sortedKeys(r.next.claims) {
		r.settle(r.next.claims[id], len(byID[id]) > 0)
	}
	for _, id := range sortedKeys(byID) {
		for _, o := range byID[id] {
			r.place(o)
		}
	}
}

// settle decides about a claim by whether its enclave exists.
func (r *reconciliation) settle(claim Claim, exists bool) {
	switch {
	case exists:
		claim.BootID = r.ledger.bootID
		r.next.claims[claim.EnclaveID] = claim
		r.report.Kept = append(r.report.Kept, claim.clone())
	case claim.BootID != r.ledger.bootID:
		delete(r.next.claims, claim.EnclaveID)
		r.report.Released = append(r.report.Released, claim.clone())
	default:
		r.report.Missing = append(r.report.Missing, claim.clone())
	}
}

// place accounts for the cards of one observed holder: its claim covers them,
// a new claim does, or they go into quarantine.
func (r *reconciliation) place(o Observed) {
	claim, claimed := r.next.claims[o.EnclaveID]
	switch {
	case o.EnclaveID == "":
		r.quarantine(o, o.Text, "")
	case !claimed:
		r.adopt(o)
	case claim.SpecDigest != o.SpecDigest:
		r.quarantine(o, "enclave "+o.EnclaveID+" runs with a spec that its claim doesn't name", "")
	default:
		r.quarantine(o, "enclave "+o.EnclaveID+" has the card, and its claim doesn't name it", claim.EnclaveID)
	}
}

// adopt makes a claim for an enclave that exists without one, if it is
// complete and collides with no other.
func (r *reconciliation) adopt(o Observed) {
	claim := Claim{
		EnclaveID: o.EnclaveID, SpecDigest: o.SpecDigest, ClusterID: o.ClusterID,
		GPUs: slices.Sorted(slices.Values(o.GPUs)), Switches: slices.Sorted(slices.Values(o.Switches)),
		CPUs: o.CPUs, MemoryMiB: o.MemoryMiB,
		Phase: PhaseActive, BootID: r.ledger.bootID, Since: r.ledger.now().UTC().Round(0),
	}
	if err := claim.validate(); err != nil {
		r.quarantine(o, fmt.Sprintf("an enclave without a claim has the card, and can't be given one: %v", err), "")
		return
	}
	held := r.next.held()
	for _, card := range claim.Cards() {
		if holder, ok := held[card]; ok {
			r.quarantine(o, fmt.Sprintf("enclaves %s and %s both have the card", holder, o.EnclaveID), "")
			return
		}
	}
	r.next.claims[claim.EnclaveID] = claim
	r.report.Adopted = append(r.report.Adopted, claim.clone())
}

// quarantine puts the holder's cards in quarantine, but for those that the
// claim of enclave except covers. An operator's quarantine stays as it is.
func (r *reconciliation) quarantine(o Observed, why, except string) {
	held := r.next.held()
	for _, named := range slices.Concat(o.GPUs, o.Switches) {
		card, err := gpu.ParseBDF(string(named))
		if err != nil || except != "" && held[card] == except {
			continue
		}
		if q, ok := r.next.quarantine[card]; ok && !q.Observed {
			continue
		}
		q := quarantine{BDF: card, Why: bounded(cmp.Or(why, "an unknown owner has the card")),
			Observed: true, Since: r.ledger.now().UTC().Round(0)}
		r.next.quarantine[card] = q
		r.report.Quarantined[card] = q.Why
	}
}

// sortedKeys returns a map's keys in order, so that reports are reproducible.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
