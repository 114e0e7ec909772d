package model

import "time"

// EnclaveState is where an enclave is in its life, as its agent says.
type EnclaveState string

// The states of an enclave, as its agent tells them; EnclaveAbsent for one that the agent, having told
// everything it has, did not mention; and EnclaveSilent, which is no agent's word,
// for one whose host has not answered for long: nothing is known of it.
const (
	EnclavePreparing EnclaveState = "PREPARING"
	EnclaveBooting   EnclaveState = "BOOTING"
	EnclaveAttesting EnclaveState = "ATTESTING"
	EnclaveStarting  EnclaveState = "STARTING"
	EnclaveHealthy   EnclaveState = "HEALTHY"
	EnclaveUnhealthy EnclaveState = "UNHEALTHY"
	EnclaveStopping  EnclaveState = "STOPPING"
	EnclaveStopped   EnclaveState = "STOPPED"
	EnclaveFailed    EnclaveState = "FAILED"
	EnclaveAbsent    EnclaveState = "ABSENT"
	EnclaveSilent    EnclaveState = "SILENT"
)

// Observation is what an agent says of one enclave.
type Observation struct {
	Enclave  string
	Host     string
	State    EnclaveState
	Reason   string
	Text     string
	Endpoint string
	Stages   []Stage
	// Claimed says that the enclave still holds its GPUs, vCPUs and memory.
	Claimed bool
	// Refused says that the agent refuses the enclave's evidence.
	Refused bool
	// Incarnation is that of the host that says so; empty if it is not known, or if
	// the coordinator itself does.
	Incarnation string
	// Anew says that the host was set up anew at the time Since: it has nothing of
	// what it was told before.
	Anew bool
	// Since is when a silent host was lost, and Long says that this is so long ago
	// that others should do without it.
	Since time.Time
	Long  bool
}

// Gone says whether nothing of the enclave is left: it has ended, or does not
// exist, and holds nothing.
func (o Observation) Gone() bool { return o.Ended() && !o.Claimed }

// Stopped says whether the agent answers for the enclave's end. Absence does
// not: a listing may be older than a call that creates the enclave, while an
// agent that was told to stop an enclave it does not know remembers that.
func (o Observation) Stopped() bool { return o.Gone() && o.State != EnclaveAbsent }

// Ended says whether the enclave runs no more, or will not.
func (o Observation) Ended() bool {
	return o.State == EnclaveStopped || o.State == EnclaveFailed || o.State == EnclaveAbsent
}

// Guest says whether the guest has come so far that it answers.
func (o Observation) Guest() bool {
	switch o.State {
	case EnclaveAttesting, EnclaveStarting, EnclaveHealthy, EnclaveUnhealthy:
		return true
	}
	return false
}

// healthCheckFailed is the agent's reason for an enclave whose containers failed
// the config's own health checks: more often, and for longer, than the config
// allows for a start.
const healthCheckFailed = "HEALTH_CHECK_FAILED"

// HealthFailed says whether the config's own health checks have given up on a
// start. It may still come to health, but by the config's word it should not be
// waited for.
func (o Observation) HealthFailed() bool {
	return o.State == EnclaveStarting && o.Reason == healthCheckFailed
}
