package engine

import (
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// Event is something that happened. Events that come late or twice are
// harmless: each is compared with the state it meets.
type Event interface{ event() }

// Start asks for an update. The planner has filled in everything but ids,
// deadlines and step; New carries host, revision and room.
type Start struct {
	Update model.Update
	// Revision is the new revision's number, or that of an existing one.
	Revision int64
}

// Accept lets traffic switch to the held candidate of the update with this id.
type Accept struct{ ID string }

// Cancel asks to cancel the update with this id. Code and text say who and why.
type Cancel struct{ ID, Reason, Text string }

// Force stops waiting in the given step of the update with this id.
type Force struct {
	ID   string
	Step model.Step
}

// Stop asks to stop or delete the container.
type Stop struct{ Kind model.TeardownKind }

// Observed is what an agent says of an enclave.
type Observed struct{ model.Observation }

// Prepared, Created and Verified are what came of the effects of the same
// names. A nil Failure is success.
type (
	// Prepared says that everything the candidate needs is on its host.
	Prepared struct {
		Enclave string
		Failure *Failure
	}
	// Created says that the agent has claimed what the candidate needs.
	Created struct {
		Enclave string
		Failure *Failure
	}
	// Verified says that the coordinator accepted the candidate's evidence and
	// the guest took its secrets.
	Verified struct {
		Enclave string
		Verdict *model.Verdict
		Failure *Failure
	}
)

// Replanned is the planner's answer to the effect Replan.
type Replanned struct {
	Failed  string
	Host    string
	Failure *Failure
}

// Placed is the planner's answer to the effect Place.
type Placed struct {
	Host    string
	Failure *Failure
}

// HostGone says that an operator has given a host up for good: nothing on it
// runs any more, by the operator's word.
type HostGone struct{ Host string }

// Freed says that a host has proved that the candidate's room is free.
type Freed struct{ Enclave string }

// Acknowledged says that every gateway has put a route into effect.
type Acknowledged struct {
	Domain     string
	Generation int64
}

// Drained says how many connections to an enclave are left.
type Drained struct {
	Enclave string
	Left    int64
}

// Withdrawn says that the container's domain no longer points at the gateways.
type Withdrawn struct{ Domain string }

// Tick says what time it is; deadlines that have passed take effect.
type Tick struct{}

// Resume asks for the effects of the current step again, after a restart.
type Resume struct{}

// Failure is why something did not work, for good.
type Failure struct {
	// Reason is a stable code in upper snake case.
	Reason string
	// Text says the same in words, with what to do.
	Text string
	// NoRoom says that the agent refused the claim: another host may have room.
	NoRoom bool
}

// Error returns the text.
func (f *Failure) Error() string { return f.Reason + ": " + f.Text }

func (Start) event()        {}
func (Accept) event()       {}
func (Cancel) event()       {}
func (Force) event()        {}
func (Stop) event()         {}
func (Observed) event()     {}
func (Prepared) event()     {}
func (Created) event()      {}
func (Verified) event()     {}
func (Replanned) event()    {}
func (Placed) event()       {}
func (HostGone) event()     {}
func (Freed) event()        {}
func (Acknowledged) event() {}
func (Drained) event()      {}
func (Withdrawn) event()    {}
func (Tick) event()         {}
func (Resume) event()       {}

// Refused says that a request can't be granted in the present state. It is an
// answer, not a fault; nothing has changed.
type Refused struct {
	// Reason is a stable code in upper snake case.
	Reason string
	// Text says why and what to do.
	Text string
	// Update is the update that stands in the way, if one does.
	Update string
}

// Error returns the text.
func (r *Refused) Error() string { return r.Text }

// Deadline returns when the state next needs a Tick; zero if never.
func Deadline(s State) time.Time {
	var at time.Time
	if s.Update != nil && !s.Update.Status.Ended() {
		at = s.Update.Deadline
	}
	if t := s.Container.Teardown; t != nil && (at.IsZero() || t.Deadline.Before(at)) {
		at = t.Deadline
	}
	if r := s.Container.Restart; r != nil && !r.At.IsZero() && (at.IsZero() || r.At.Before(at)) {
		at = r.At
	}
	return at
}
