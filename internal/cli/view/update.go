package view

import (
	"fmt"
	"strings"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// Updates is the table of updates.
func (v View) Updates(list []*cv1.Update) string {
	if len(list) == 0 {
		return "no updates\n"
	}
	t := table{header: []string{"UPDATE", "KIND", "STATUS", "STEP", "STRATEGY", "FROM", "TO", "HOST", "TOOK", "AGE", "REASON"}}
	for _, u := range list {
		step := ""
		if !Ended(u.GetStatus()) {
			step = Step(u.GetStep())
		}
		t.add(clean(u.GetId()), clean(u.GetKind()), v.UpdateStatus(u), step, Strategy(u.GetStrategy()),
			version(u.GetFromTag(), u.GetFromRevision()), version(u.GetToTag(), u.GetToRevision()), clean(u.GetHost()),
			Took(v.elapsed(u)), age(u.GetCreateTime(), v.Now), clean(u.GetReason()))
	}
	return t.text(v.Style)
}

func version(tag string, revision int64) string {
	if revision == 0 {
		return clean(tag)
	}
	return fmt.Sprintf("%s r%d", clean(tag), revision)
}

// UpdateStatus is an update's status with its marks.
func (v View) UpdateStatus(u *cv1.Update) string {
	debug := false
	for _, m := range u.GetVerdict().GetInsecure() {
		debug = debug || m == "debug"
	}
	return statusColour(v.Style, UpdateStatus(u.GetStatus())) + marks(v.Style, u.GetInsecure(), debug)
}

// elapsed is how long an update took or has taken.
func (v View) elapsed(u *cv1.Update) time.Duration {
	end := v.Now
	if u.GetEndTime() != nil {
		end = u.GetEndTime().AsTime()
	}
	if u.GetCreateTime() == nil {
		return 0
	}
	return end.Sub(u.GetCreateTime().AsTime())
}

// Update is all there is to say of one update.
func (v View) Update(u *cv1.Update) string {
	var f fields
	f.add("update", clean(u.GetId())+" of "+clean(u.GetContainer())+" ("+clean(u.GetKind())+")")
	f.add("status", v.UpdateStatus(u))
	f.add("why", why(u.GetReason(), u.GetText()))
	f.add("strategy", Strategy(u.GetStrategy()))
	f.add("from", tag(u.GetFromTag(), u.GetFromRevision()))
	f.add("to", tag(u.GetToTag(), u.GetToRevision()))
	f.add("host", clean(u.GetHost()))
	f.add("old enclave", clean(u.GetOldEnclave()))
	f.add("candidate", clean(u.GetCandidate()))
	f.add("asked for", moment(u.GetCreateTime(), v.Now))
	f.add("switched", moment(u.GetSwitchTime(), v.Now))
	f.add("ended", moment(u.GetEndTime(), v.Now))
	if d := u.GetStepDeadline(); d != nil && !Ended(u.GetStatus()) {
		f.add("step ends by", d.AsTime().UTC().Format(time.RFC3339)+" (in "+Took(d.AsTime().Sub(v.Now).Truncate(time.Second))+")")
	}
	if u.GetCancelRequested() && !Ended(u.GetStatus()) {
		f.add("cancel", v.Style.Warn("asked for"))
	}
	f.add("verdict", v.verdict(u))
	text := f.text(v.Style) + "\n" + strings.Join(v.Steps(u), "\n") + "\n"
	if Waits(u) {
		text += "\n" + v.AcceptHint(u) + "\n"
	}
	return text
}

// verdict is the coordinator's own verdict on the candidate: the checks that did
// not pass by name.
func (v View) verdict(u *cv1.Update) string {
	d := u.GetVerdict()
	if d == nil {
		return ""
	}
	var bad []string
	for _, c := range d.GetChecks() {
		if !c.GetOk() {
			bad = append(bad, v.Style.Bad(clean(c.GetName()))+": "+clean(c.GetDetail()))
		}
	}
	text := v.Style.Bad("refused")
	if d.GetAccepted() {
		text = v.Style.Good("accepted")
	}
	text += fmt.Sprintf(" (%s, %s)", clean(d.GetFormat()), count(int64(len(d.GetChecks())), "check")) + marks(v.Style, d.GetInsecure(), false)
	return strings.Join(append([]string{text}, bad...), "\n")
}

// AcceptHint says how to let a held candidate take the traffic.
func (v View) AcceptHint(u *cv1.Update) string {
	name, id := clean(u.GetContainer()), clean(u.GetId())
	return fmt.Sprintf("%s waits to be accepted: casemate container update accept %s %s\nor discard it: casemate container update cancel %s", id, name, id, name)
}

// End is how an update ended, or that it waits for a person, in one line. Why it
// failed or was cancelled is an error's to say.
func (v View) End(u *cv1.Update) string {
	text := clean(u.GetId()) + " " + v.UpdateStatus(u) + " after " + Took(v.elapsed(u))
	switch u.GetStatus() {
	case cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED:
		return text + ": " + clean(u.GetContainer()) + " serves " + tag(u.GetToTag(), u.GetToRevision()) + " on host " + clean(u.GetHost())
	case cv1.UpdateStatus_UPDATE_STATUS_READY:
		return text + ": " + tag(u.GetToTag(), u.GetToRevision()) + " is healthy on host " + clean(u.GetHost())
	}
	return text
}
