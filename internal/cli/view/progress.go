package view

import (
	"fmt"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// Picture is the redrawn view of an update in progress.
func (v View) Picture(u *cv1.Update) []string {
	head := v.Style.Bold(clean(u.GetId())) + "  " + v.UpdateStatus(u) + "  " + v.Style.Dim(Took(v.elapsed(u).Truncate(time.Second)))
	lines := []string{head, v.move(u)}
	if u.GetRestoring() {
		lines = append(lines, "  "+v.Style.Warn("the update failed: the previous revision is being brought back"))
	}
	if u.GetCancelRequested() && !Ended(u.GetStatus()) {
		lines = append(lines, "  "+v.Style.Warn("cancellation was asked for"))
	}
	return append(lines, v.Steps(u)...)
}

// move says from where to where an update goes, and how.
func (v View) move(u *cv1.Update) string {
	text := "  " + clean(u.GetKind()) + ": "
	if from := version(u.GetFromTag(), u.GetFromRevision()); from != "" {
		text += from + " → "
	}
	text += version(u.GetToTag(), u.GetToRevision())
	if s := Strategy(u.GetStrategy()); s != "" {
		text += ", " + s
	}
	if u.GetHost() != "" {
		text += " on host " + clean(u.GetHost())
	}
	return text
}

// News are plain lines that say what changed from one state of an update to the
// next: a line a step, a stage and a count of connections. was may be nil.
func (v View) News(was, is *cv1.Update) []string {
	var lines []string
	say := func(at time.Time, format string, args ...any) {
		since := time.Duration(0)
		if is.GetCreateTime() != nil {
			since = at.Sub(is.GetCreateTime().AsTime())
		}
		lines = append(lines, fmt.Sprintf("%8s  %s", "+"+Took(since), fmt.Sprintf(format, args...)))
	}
	if was == nil {
		say(is.GetCreateTime().AsTime(), "%s %s", clean(is.GetId()), v.move(is)[2:])
	}
	old := len(was.GetHistory())
	for i, h := range is.GetHistory() {
		if i < old || h.GetStep() == done {
			continue
		}
		text := "step " + Step(h.GetStep())
		if p := phase(is, h.GetStep()); p != "" {
			text += " (" + p + ")"
		}
		if note := clean(h.GetNote()); note != "" {
			text += ": " + note
		}
		say(h.GetEnterTime().AsTime(), "%s", text)
	}
	v.stageNews(was.GetStages(), is.GetStages(), func(text string) { say(v.Now, "%s", text) })
	if left := is.GetConnectionsLeft(); is.GetStep() == drain && (was.GetStep() != drain || left != was.GetConnectionsLeft()) {
		say(v.Now, "%s to the old version left", count(left, "connection"))
	}
	if is.GetCancelRequested() && !was.GetCancelRequested() {
		say(v.Now, "cancellation was asked for")
	}
	if is.GetRestoring() && !was.GetRestoring() {
		say(v.Now, "the update failed: the previous revision is being brought back")
	}
	return lines
}

func (v View) stageNews(was, is []*agentv1.BootStage, say func(string)) {
	before := map[string]agentv1.StageStatus{}
	for _, s := range was {
		before[s.GetName()] = s.GetStatus()
	}
	for _, s := range is {
		st := s.GetStatus()
		if st == before[s.GetName()] || st == agentv1.StageStatus_STAGE_STATUS_PENDING {
			continue
		}
		text := "  stage " + clean(s.GetName()) + " " + stage(st)
		if d := s.GetDuration().AsDuration(); d > 0 && st != agentv1.StageStatus_STAGE_STATUS_RUNNING {
			text += " " + Took(d)
		}
		if r := clean(s.GetReason()); r != "" {
			text += ": " + r
		}
		say(text)
	}
}
