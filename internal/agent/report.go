package agent

import (
	"fmt"
	"strings"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/records"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// reportDamaged reports records that were set aside.
func (a *Agent) reportDamaged(damaged []records.Damaged) {
	for _, d := range damaged {
		a.cfg.Log.Error("record set aside", "enclave", d.ID, "aside", d.Aside, "error", d.Err)
		a.conditions.set(condition{
			code: CodeRecordCorrupt, subject: d.ID, severity: agentv1.Severity_SEVERITY_WARNING,
			text: fmt.Sprintf("the record of enclave %s was damaged (%v) and kept as %s; what runs is listed all the same. "+
				"Remove that file and restart the agent to end this", d.ID, d.Err, d.Aside),
		})
	}
}

func (a *Agent) reportFenceLost(err error) {
	a.cfg.Log.Error("fence lost", "error", err)
	a.conditions.set(condition{
		code: CodeFenceLost, severity: agentv1.Severity_SEVERITY_WARNING,
		text: fmt.Sprintf("%v. The agent knows no epoch until a coordinator calls", err),
	})
}

// reportStanding reports what holds for as long as this agent runs.
func (a *Agent) reportStanding() {
	a.conditions.set(condition{
		code: CodeStarting, severity: agentv1.Severity_SEVERITY_INFO,
		text: "the agent is comparing its records with what runs here, and looking at the GPUs; nothing is offered until then",
	})
	var allowed []string
	if a.cfg.Policy.AllowSimulated {
		allowed = append(allowed, "simulated")
	}
	if a.cfg.Policy.AllowDebug {
		allowed = append(allowed, "debug")
	}
	if len(allowed) > 0 {
		a.conditions.set(condition{
			code: CodeInsecureAllowed, severity: agentv1.Severity_SEVERITY_WARNING,
			text: fmt.Sprintf("the configuration allows enclaves that protect nothing (%s): no production belongs here",
				strings.Join(allowed, ", ")),
		})
	}
}

// severityOf is a severity of package gpu as the API has it.
func severityOf(s gpu.Severity) agentv1.Severity {
	if s == gpu.SeverityError {
		return agentv1.Severity_SEVERITY_ERROR
	}
	return agentv1.Severity_SEVERITY_WARNING
}

// upper is a code of package gpu as the API has it: nvml-stuck as NVML_STUCK.
func upper(code string) string { return strings.ToUpper(strings.ReplaceAll(code, "-", "_")) }
