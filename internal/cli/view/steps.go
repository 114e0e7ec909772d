package view

import (
	"slices"
	"strings"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// maxSteps bounds the steps that are shown of a history.
const maxSteps = 32

const (
	reserve   = cv1.UpdateStep_UPDATE_STEP_RESERVE
	prepare   = cv1.UpdateStep_UPDATE_STEP_PREPARE
	holdRoute = cv1.UpdateStep_UPDATE_STEP_HOLD_ROUTE
	stopOld   = cv1.UpdateStep_UPDATE_STEP_STOP_OLD
	awaitFree = cv1.UpdateStep_UPDATE_STEP_AWAIT_FREE
	boot      = cv1.UpdateStep_UPDATE_STEP_BOOT
	attest    = cv1.UpdateStep_UPDATE_STEP_ATTEST
	health    = cv1.UpdateStep_UPDATE_STEP_HEALTH
	hold      = cv1.UpdateStep_UPDATE_STEP_HOLD
	switching = cv1.UpdateStep_UPDATE_STEP_SWITCH
	drain     = cv1.UpdateStep_UPDATE_STEP_DRAIN
	stopNew   = cv1.UpdateStep_UPDATE_STEP_STOP_NEW
	release   = cv1.UpdateStep_UPDATE_STEP_RELEASE
	done      = cv1.UpdateStep_UPDATE_STEP_DONE
)

// path is the way an update takes when all goes well (docs/updates.md).
func path(u *cv1.Update) []cv1.UpdateStep {
	steps := []cv1.UpdateStep{reserve, prepare, boot, attest, health, hold, switching, drain, stopOld, release}
	if u.GetStrategy() == cv1.Strategy_STRATEGY_REPLACE {
		steps = []cv1.UpdateStep{reserve, prepare, holdRoute, stopOld, awaitFree, boot, attest, health, switching, release}
	}
	return slices.DeleteFunc(steps, func(s cv1.UpdateStep) bool {
		switch s {
		case hold:
			return !u.GetHold()
		case holdRoute, stopOld, awaitFree, drain:
			return u.GetOldEnclave() == ""
		}
		return false
	})
}

// ahead is what is still to come.
func ahead(u *cv1.Update) []cv1.UpdateStep {
	if Ended(u.GetStatus()) || u.GetCancelRequested() {
		return nil
	}
	way, at := path(u), -1
	for _, h := range u.GetHistory() {
		if h.GetStep() == stopNew {
			return nil
		}
		if i := slices.Index(way, h.GetStep()); i >= 0 {
			at = i
		}
	}
	return way[at+1:]
}

// phase is the heading under which a replace shows a step: first the old
// deployment is stopped, then the new one deployed.
func phase(u *cv1.Update, s cv1.UpdateStep) string {
	if u.GetStrategy() != cv1.Strategy_STRATEGY_REPLACE || u.GetOldEnclave() == "" {
		return ""
	}
	switch s {
	case holdRoute, drain, stopOld, awaitFree:
		return "1 of 2: stopping the old deployment"
	case boot, attest, health, switching:
		return "2 of 2: deploying the new one"
	}
	return ""
}

// Steps are the lines that show how far an update is: its steps with durations,
// the boot stages beneath the step in which the candidate boots, and what is
// still to come.
func (v View) Steps(u *cv1.Update) []string {
	var lines []string
	heading := ""
	head := func(s cv1.UpdateStep) string {
		if p := phase(u, s); p != "" && p != heading {
			heading = p
			lines = append(lines, "  "+v.Style.Bold(p))
		}
		if heading != "" && phase(u, s) != "" {
			return "    "
		}
		return "  "
	}
	history := u.GetHistory()
	history = history[max(0, len(history)-maxSteps):]
	for i, h := range history {
		if h.GetStep() == done {
			continue
		}
		indent := head(h.GetStep())
		lines = append(lines, indent+v.step(u, history, i))
		if v.showsStages(u, history, i) {
			lines = append(lines, v.stages(u.GetStages(), indent+"    ")...)
		}
	}
	for _, s := range ahead(u) {
		indent := head(s)
		lines = append(lines, indent+v.Style.Dim("· "+Step(s)))
	}
	return lines
}

// step is the line of one step that was entered.
func (v View) step(u *cv1.Update, history []*cv1.StepRecord, i int) string {
	h := history[i]
	name := Step(h.GetStep())
	pad := strings.Repeat(" ", max(0, 12-len(name)))
	text := name + pad + Took(v.spent(h))
	switch {
	case h.GetLeaveTime() == nil && !Ended(u.GetStatus()):
		text = v.Style.Bold("● "+text) + "  " + meaning(u)
	case stopped(history, i):
		text = v.Style.Bad("✗ " + text)
	default:
		text = v.Style.Good("✓") + " " + text
	}
	if note := clean(h.GetNote()); note != "" {
		text += "  " + note
	}
	return strings.TrimRight(text, " ")
}

// stopped says whether the update was torn down in this step.
func stopped(history []*cv1.StepRecord, i int) bool {
	return i+1 < len(history) && history[i+1].GetStep() == stopNew
}

func (v View) spent(h *cv1.StepRecord) time.Duration {
	end := v.Now
	if h.GetLeaveTime() != nil {
		end = h.GetLeaveTime().AsTime()
	}
	d := end.Sub(h.GetEnterTime().AsTime())
	if h.GetLeaveTime() == nil && d < time.Minute {
		return d.Truncate(time.Second)
	}
	return d
}

// meaning says what the current step waits for.
func meaning(u *cv1.Update) string {
	switch u.GetStep() {
	case prepare:
		return "everything that can be fetched beforehand is fetched"
	case holdRoute:
		return "new connections wait for the new version"
	case stopOld:
		return "the old version is being stopped"
	case awaitFree:
		return "the agent has to prove that the GPUs are free"
	case attest:
		return "evidence is verified, secrets are delivered"
	case health:
		return "the health check has to pass"
	case hold:
		return "waits to be accepted"
	case switching:
		return "gateways have to acknowledge the route"
	case drain:
		return count(u.GetConnectionsLeft(), "connection") + " to the old version left"
	case stopNew:
		return "the candidate is being stopped"
	}
	return ""
}

// showsStages says whether the boot stages stand beneath this step: the last one
// in which the candidate starts, unless all is well and over.
func (v View) showsStages(u *cv1.Update, history []*cv1.StepRecord, i int) bool {
	if len(u.GetStages()) == 0 {
		return false
	}
	starts := func(s cv1.UpdateStep) bool { return s == boot || s == attest || s == health }
	if !starts(history[i].GetStep()) {
		return false
	}
	return stopped(history, i) || i == len(history)-1
}

// stages are the lines of boot stages.
func (v View) stages(list []*agentv1.BootStage, indent string) []string {
	var lines []string
	for _, s := range list[:min(len(list), maxSteps)] {
		lines = append(lines, indent+v.stage(s))
	}
	return lines
}

func (v View) stage(s *agentv1.BootStage) string {
	name := clean(s.GetName())
	text := name + strings.Repeat(" ", max(0, 12-len(name)))
	took := ""
	if d := s.GetDuration().AsDuration(); d > 0 {
		took = Took(d)
	}
	switch s.GetStatus() {
	case agentv1.StageStatus_STAGE_STATUS_OK:
		text = v.Style.Good("✓") + " " + text + took
	case agentv1.StageStatus_STAGE_STATUS_FAILED:
		text = v.Style.Bad("✗ " + text + took)
	case agentv1.StageStatus_STAGE_STATUS_RUNNING:
		text = v.Style.Bold("● " + text + took)
	case agentv1.StageStatus_STAGE_STATUS_SKIPPED:
		text = v.Style.Dim("- " + text + "skipped")
	default:
		text = v.Style.Dim("· " + text)
	}
	if r := clean(s.GetReason()); r != "" {
		text += "  " + r
	}
	return strings.TrimRight(text, " ")
}
