package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
)

var clean = terminal.Clean

// cleanAll cleans a list of names and joins it.
func cleanAll(list []string) string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = clean(t)
	}
	return strings.Join(out, ", ")
}

// ContainerStatus names a status as docs/updates.md does.
func ContainerStatus(s cv1.ContainerStatus) string {
	return strings.TrimPrefix(s.String(), "CONTAINER_STATUS_")
}

// UpdateStatus names a status as docs/updates.md does.
func UpdateStatus(s cv1.UpdateStatus) string {
	return strings.TrimPrefix(s.String(), "UPDATE_STATUS_")
}

// Step names a step in small letters: boot, stop old.
func Step(s cv1.UpdateStep) string { return small(s.String(), "UPDATE_STEP_") }

// Strategy names a strategy as the flag --strategy does.
func Strategy(s cv1.Strategy) string {
	if s == cv1.Strategy_STRATEGY_UNSPECIFIED {
		return ""
	}
	return strings.ReplaceAll(small(s.String(), "STRATEGY_"), " ", "-")
}

func stage(s agentv1.StageStatus) string { return small(s.String(), "STAGE_STATUS_") }

func small(name, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", " ")
}

// Ended says whether an update has come to an end.
func Ended(s cv1.UpdateStatus) bool {
	switch s {
	case cv1.UpdateStatus_UPDATE_STATUS_FAILED, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED, cv1.UpdateStatus_UPDATE_STATUS_CANCELLED:
		return true
	}
	return false
}

// Waits says whether an update waits for a person to accept its candidate.
func Waits(u *cv1.Update) bool {
	return u.GetHold() && !u.GetCancelRequested() && u.GetStep() == cv1.UpdateStep_UPDATE_STEP_HOLD &&
		u.GetStatus() == cv1.UpdateStatus_UPDATE_STATUS_READY
}

func statusColour(s terminal.Style, name string) string {
	switch name {
	case "RUNNING", "SUCCEEDED", "READY":
		return s.Good(name)
	case "FAILED", "UNREACHABLE", "REFUSED":
		return s.Bad(name)
	case "DEPLOYING", "STOPPING", "DELETING", "PENDING", "STARTED", "JOINING", "HELD":
		return s.Warn(name)
	}
	return name
}

// marks says why what runs protects nothing: [SIMULATED] [DEBUG]. Every place
// that shows a status shows them.
func marks(s terminal.Style, insecure []string, debug bool) string {
	var out []string
	for _, m := range insecure {
		if m = strings.ToUpper(clean(m)); m != "" {
			out = append(out, m)
		}
	}
	if debug {
		out = append(out, "DEBUG")
	}
	slices.Sort(out)
	text := ""
	for _, m := range slices.Compact(out) {
		text += " " + s.Warn("["+m+"]")
	}
	return text
}

// Took words a duration for people: 0.3s, 12s, 3m05s, 2h04m.
func Took(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// age is how long ago something was; empty if it is not set.
func age(t *timestamppb.Timestamp, now time.Time) string {
	if t == nil {
		return ""
	}
	d := now.Sub(t.AsTime())
	if d >= time.Minute {
		return Took(d)
	}
	return Took(d.Truncate(time.Second))
}

// moment is a time and how long ago it was.
func moment(t *timestamppb.Timestamp, now time.Time) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339) + " (" + age(t, now) + " ago)"
}

// memory words an amount of MiB.
func memory(mib uint64) string {
	if mib >= 1024 && mib%1024 == 0 {
		return fmt.Sprintf("%d GiB", mib/1024)
	}
	return fmt.Sprintf("%d MiB", mib)
}

func room(r *cv1.Room) string {
	return fmt.Sprintf("%s, %d vCPUs, %s", gpus(r.GetGpus()), r.GetCpus(), memory(r.GetMemoryMib()))
}

func gpus(n uint32) string { return count(int64(n), "GPU") }

func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// tag names a tag with its revision.
func tag(name string, revision int64) string {
	switch {
	case name == "" && revision == 0:
		return ""
	case revision == 0:
		return clean(name)
	}
	return fmt.Sprintf("%s (revision %d)", clean(name), revision)
}

func short(commit string) string {
	c := clean(commit)
	return c[:min(len(c), 12)]
}

// why is a reason's code with its words.
func why(code, text string) string {
	code, text = clean(code), clean(text)
	if code == "" {
		return text
	}
	return strings.TrimSpace("[" + code + "] " + text)
}

// Name is a name from elsewhere, made safe to show.
func Name(name string) string { return clean(name) }
