package engine

import (
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// Effect is something to be done after the state is committed. Each may be
// carried out any number of times.
type Effect interface{ effect() }

type (
	// Prepare fetches what an enclave needs to its host; answered by Prepared.
	Prepare struct{ Enclave model.EnclaveRef }
	// Create claims and boots an enclave; answered by Created.
	Create struct{ Enclave model.EnclaveRef }
	// Verify asks the enclave for evidence with a nonce of the coordinator's,
	// judges it, and delivers secrets; answered by Verified.
	Verify struct{ Enclave model.EnclaveRef }
	// Observe wants to hear of an enclave at once; answered by Observed.
	Observe struct{ Enclave model.EnclaveRef }
	// Halt tells the agent to stop an enclave; answered by Observed in time.
	Halt struct {
		Enclave model.EnclaveRef
		Grace   time.Duration
		Why     string
	}
	// AwaitFree waits until the host proves that the enclaves in After are gone
	// and that the room is free; answered by Freed.
	AwaitFree struct {
		Enclave model.EnclaveRef
		After   []model.EnclaveRef
	}
	// AwaitAck waits for the gateways' acknowledgement; answered by Acknowledged.
	AwaitAck struct {
		Domain     string
		Generation int64
	}
	// AwaitDrain reports the connections left to an enclave, now and whenever
	// they change; answered by Drained.
	AwaitDrain struct{ Enclave string }
	// Replan asks the planner for another host; answered by Replanned.
	Replan struct{ Failed model.EnclaveRef }
	// Place asks the planner where an enclave that died can be started again;
	// answered by Placed.
	Place struct{ Enclave model.EnclaveRef }
	// WithdrawDNS removes the domain's records; answered by Withdrawn.
	WithdrawDNS struct{ Domain string }
)

func (Prepare) effect()     {}
func (Create) effect()      {}
func (Verify) effect()      {}
func (Observe) effect()     {}
func (Halt) effect()        {}
func (AwaitFree) effect()   {}
func (AwaitAck) effect()    {}
func (AwaitDrain) effect()  {}
func (Replan) effect()      {}
func (Place) effect()       {}
func (WithdrawDNS) effect() {}
