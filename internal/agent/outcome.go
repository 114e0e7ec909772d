package agent

import (
	"fmt"
	"regexp"
	"strings"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

// Reasons of an enclave's state, besides those of package enclave and codes that
// a guest gives.
const (
	// ReasonVMExited: the VM ended without being asked to.
	ReasonVMExited = "VM_EXITED"
	// ReasonVanished: the host knows nothing of the VM any more.
	ReasonVanished = "VM_VANISHED"
	// ReasonHostRebooted: the host rebooted while the enclave ran.
	ReasonHostRebooted = "HOST_REBOOTED"
	// ReasonBootTimeout: the guest did not come up in time.
	ReasonBootTimeout = "BOOT_TIMEOUT"
	// ReasonAttestation: the agent refused the evidence.
	ReasonAttestation = "ATTESTATION_REFUSED"
	// ReasonGPUMode: the GPUs could not be brought to the mode that is needed.
	ReasonGPUMode = "GPU_MODE_FAILED"
	// ReasonHealth: the config's health check fails.
	ReasonHealth = "HEALTH_CHECK_FAILED"
	// ReasonStoppedEarly: it was told to stop before it ran.
	ReasonStoppedEarly = "STOPPED_EARLY"
)

// outcome is a state with its reason.
type outcome struct {
	state        agentv1.EnclaveState
	reason, text string
}

// guestOutcome says what an attested guest's boot status means. Health that
// fails is no failure: an enclave that was healthy is UNHEALTHY until it passes
// again, and one that never was is STARTING.
func guestOutcome(b *guestapi.BootStatus, wasHealthy bool) outcome {
	if failed, ok := b.Failed(); ok && failed.Name != guestapi.StageHealth {
		return outcome{agentv1.EnclaveState_ENCLAVE_STATE_FAILED, stageReason(failed), stageText(failed)}
	}
	if b.Ready {
		return outcome{state: agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY}
	}
	now := b.Current()
	switch {
	case wasHealthy:
		return outcome{agentv1.EnclaveState_ENCLAVE_STATE_UNHEALTHY, ReasonHealth, stageText(now)}
	case now.Status == guestapi.StatusFailed:
		return outcome{agentv1.EnclaveState_ENCLAVE_STATE_STARTING, ReasonHealth, stageText(now)}
	default:
		return outcome{state: agentv1.EnclaveState_ENCLAVE_STATE_STARTING, text: stageText(now)}
	}
}

// codeForm is a stable code at the head of a guest's text, as in
// "IMAGE_MISSING: …".
var codeForm = regexp.MustCompile(`^([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?::|$)`)

// stageReason is the code of a failed stage: its own if its text begins with
// one, or the stage's name and FAILED.
func stageReason(s guestapi.Stage) string {
	if m := codeForm.FindStringSubmatch(s.Reason); len(m) > 1 && len(m[1]) <= 64 {
		return m[1]
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(s.Name)) + "_FAILED"
}

func stageText(s guestapi.Stage) string {
	if s.Reason == "" {
		return fmt.Sprintf("stage %s is %s", s.Name, s.Status)
	}
	return fmt.Sprintf("stage %s: %s", s.Name, s.Reason)
}

// exitOutcome says what the end of a VM means that nobody asked for. What the
// guest said before tells more than that it ended.
func exitOutcome(exit enclave.Exit, last *guestapi.BootStatus) outcome {
	failed := agentv1.EnclaveState_ENCLAVE_STATE_FAILED
	if last != nil {
		if stage, ok := last.Failed(); ok && stage.Name != guestapi.StageHealth {
			return outcome{failed, stageReason(stage), stageText(stage)}
		}
	}
	switch exit.Reason {
	case "", enclave.ReasonDied, enclave.ReasonPoweredOff, enclave.ReasonKilled:
		text := "the VM ended without being asked to"
		if exit.Text != "" {
			text += ": " + exit.Text
		}
		return outcome{failed, ReasonVMExited, text + "; its console log may say why"}
	default:
		return outcome{failed, exit.Reason, exit.Text}
	}
}

// errorOutcome is the failure of a step of the backend.
func errorOutcome(err error, otherwise string) outcome {
	reason := enclave.ReasonOf(err)
	if reason == "" {
		reason = otherwise
	}
	return outcome{agentv1.EnclaveState_ENCLAVE_STATE_FAILED, reason, err.Error()}
}
