package fleet

import (
	"strings"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// Bounds on what is kept of an agent's word.
const (
	maxText     = 2048
	maxStages   = 32
	maxEnclaves = 10_000
	maxGPUs     = 64
	// maxIncarnation is the longest that calls may name.
	maxIncarnation = 64
)

// Observation turns what the agent of a host's incarnation says of an enclave into
// what the engine takes.
func Observation(host, incarnation string, e *agentv1.Enclave) model.Observation {
	o := model.Observation{
		Enclave: e.GetId(),
		Host:    host, Incarnation: clip(incarnation, maxIncarnation),
		State:    enclaveState(e),
		Reason:   clip(e.GetReason(), 64),
		Text:     clip(e.GetText(), maxText),
		Endpoint: clip(e.GetEndpoint(), 256),
		Claimed:  e.GetClaimed(),
		Refused:  e.GetVerdict() != nil && !e.GetVerdict().GetAccepted(),
	}
	for i, s := range e.GetStages() {
		if i == maxStages {
			break
		}
		o.Stages = append(o.Stages, model.Stage{
			Name:     clip(s.GetName(), 64),
			Status:   strings.ToLower(strings.TrimPrefix(s.GetStatus().String(), "STAGE_STATUS_")),
			Duration: s.GetDuration().AsDuration(),
			Reason:   clip(s.GetReason(), maxText),
		})
	}
	return o
}

// ended says whether an enclave has ended and holds nothing.
func ended(e *agentv1.Enclave) bool {
	return model.Observation{State: enclaveState(e), Claimed: e.GetClaimed()}.Gone()
}

func enclaveState(e *agentv1.Enclave) model.EnclaveState {
	return model.EnclaveState(strings.TrimPrefix(e.GetState().String(), "ENCLAVE_STATE_"))
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "?")
}
