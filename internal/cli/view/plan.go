package view

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// Plan is a plan in words: what is to happen to the container called name.
func (v View) Plan(name string, p *cv1.Plan) string {
	var b strings.Builder
	b.WriteString(v.Style.Bold("Plan for "+clean(name)) + "\n")
	var f fields
	f.add("  runs", planRuns(p)+marks(v.Style, p.GetInsecure(), false))
	f.add("  signed", signedBy(p.GetManifest()))
	f.add("  strategy", Strategy(p.GetStrategy()))
	f.add("  why", clean(p.GetReason()))
	f.add("  downtime", v.downtime(p))
	f.add("  boots", lastBoots(p.GetLastBoots()))
	f.add("  host", clean(p.GetHost()))
	if p.GetReserves() != nil {
		f.add("  reserves", room(p.GetReserves()))
	}
	f.add("  refreshed", refreshed(p.GetSecretsRefreshed()))
	b.WriteString(f.text(v.Style))
	b.WriteString(v.changes(p.GetChanges()))
	b.WriteString(v.rooms(p.GetHosts()))
	for _, w := range p.GetWarnings() {
		b.WriteString("  " + v.Style.Warn("warning: "+clean(w)) + "\n")
	}
	return b.String()
}

func planRuns(p *cv1.Plan) string {
	text := tag(p.GetTag(), p.GetRevision())
	if p.GetRevision() == 0 && text != "" {
		text += " (a new revision)"
	}
	if c := short(p.GetCommit()); c != "" {
		text += ", commit " + c
	}
	return text
}

// signedBy names a release's manifest: its number and whose signature it carries.
func signedBy(m *cv1.Manifest) string {
	if m == nil {
		return ""
	}
	who := clean(m.GetSignedBy())
	if id, ok := strings.CutPrefix(who, "key "); ok {
		who = "key " + id[:min(len(id), 16)]
	}
	return fmt.Sprintf("release %d, by %s", m.GetNumber(), who)
}

func (v View) downtime(p *cv1.Plan) string {
	if !p.GetDowntimeRequired() {
		return v.Style.Good("none")
	}
	text := v.Style.Bad("yes")
	if len(p.GetLastBoots()) == 0 {
		return text + ": from stopping the old version until the new one is healthy; no boot of this container has been timed yet"
	}
	return text + ": about " + Took(p.GetLastBoots()[0].AsDuration()) + " by the last boot, and the time that stopping takes; new connections wait"
}

func lastBoots(list []*durationpb.Duration) string {
	if len(list) == 0 {
		return ""
	}
	var out []string
	for _, d := range list {
		out = append(out, Took(d.AsDuration()))
	}
	return "the last took " + strings.Join(out, ", ")
}

func refreshed(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "newer values of " + cleanAll(names)
}

func (v View) changes(list []*cv1.Change) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("  " + v.Style.Dim("changes") + "\n")
	for _, c := range list {
		was, is := clean(c.GetOldValue()), clean(c.GetNewValue())
		switch {
		case was == "" && is == "":
			fmt.Fprintf(&b, "    ~ %s\n", clean(c.GetPath()))
		case was == "":
			fmt.Fprintf(&b, "    %s %s: %s\n", v.Style.Good("+"), clean(c.GetPath()), is)
		case is == "":
			fmt.Fprintf(&b, "    %s %s: %s\n", v.Style.Bad("-"), clean(c.GetPath()), was)
		default:
			fmt.Fprintf(&b, "    %s %s: %s → %s\n", v.Style.Warn("~"), clean(c.GetPath()), was, is)
		}
	}
	return b.String()
}

func (v View) rooms(list []*cv1.HostRoom) string {
	if len(list) == 0 {
		return ""
	}
	t := table{header: []string{"    HOST", "FREE", "GPU COUNTS", "FITS", "MISSING"}}
	for _, h := range list {
		fits := "no"
		if h.GetFits() {
			fits = v.Style.Good("yes")
		}
		t.add("    "+clean(h.GetHost()), room(h.GetFree()), counts(h.GetGpuOffers()), fits, clean(h.GetMissing()))
	}
	return t.text(v.Style)
}

func counts(list []uint32) string {
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprint(n))
	}
	return strings.Join(out, " ")
}
