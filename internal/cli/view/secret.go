package view

import (
	"strconv"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// Secrets is the table of secrets; values are never known here.
func (v View) Secrets(list []*cv1.Secret) string {
	if len(list) == 0 {
		return "no secrets\n"
	}
	t := table{header: []string{"NAME", "VERSION", "BOUND TO", "STALE IN", "CHANGED"}}
	for _, s := range list {
		t.add(clean(s.GetName()), strconv.FormatInt(s.GetVersion(), 10), cleanAll(s.GetBoundTo()),
			v.Style.Warn(cleanAll(s.GetStaleIn())), age(s.GetUpdateTime(), v.Now))
	}
	return t.text(v.Style)
}

// Secret is all there is to say of one secret.
func (v View) Secret(s *cv1.Secret) string {
	var f fields
	f.add("name", clean(s.GetName()))
	f.add("org", clean(s.GetOrg()))
	f.add("version", strconv.FormatInt(s.GetVersion(), 10))
	f.add("bound to", cleanAll(s.GetBoundTo()))
	f.add("stale in", v.Style.Warn(cleanAll(s.GetStaleIn())))
	f.add("created", moment(s.GetCreateTime(), v.Now))
	f.add("changed", moment(s.GetUpdateTime(), v.Now))
	return f.text(v.Style)
}

// Events are lines of what happened.
func (v View) Events(list []*cv1.Event) string {
	if len(list) == 0 {
		return "no events\n"
	}
	t := table{header: []string{"TIME", "SEVERITY", "CONTAINER", "UPDATE", "HOST", "REASON", "TEXT"}}
	for _, e := range list {
		t.add(e.GetTime().AsTime().UTC().Format(time.RFC3339), v.severity(e.GetSeverity()), clean(e.GetContainer()),
			clean(e.GetUpdate()), clean(e.GetHost()), clean(e.GetReason()), clean(e.GetText()))
	}
	return t.text(v.Style)
}

// Event is one line of what happened.
func (v View) Event(e *cv1.Event) string {
	text := e.GetTime().AsTime().UTC().Format(time.RFC3339) + "  " + v.severity(e.GetSeverity()) + "  " + clean(e.GetReason())
	for _, about := range []string{e.GetContainer(), e.GetUpdate(), e.GetHost()} {
		if about != "" {
			text += "  " + clean(about)
		}
	}
	return text + "  " + clean(e.GetText())
}
