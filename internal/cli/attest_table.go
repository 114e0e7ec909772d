package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/internal/cli/terminal"
	"github.com/casemate-dev/casemate/pkg/attest"
)

// verdictTable is a verdict for people: the answer first, then every check, what
// was not compared, and what the evidence claims. Its texts come from evidence and
// are made safe to show.
func verdictTable(v *attest.Verdict, s terminal.Style) string {
	var b strings.Builder
	answer := s.Good("accepted")
	if !v.Accepted {
		answer = s.Bad("refused")
	}
	b.WriteString(s.Bold(string(v.Format)) + " evidence is " + answer + ", judged at " + v.At.Format(time.RFC3339) + "\n")
	checkRows(&b, v.Checks, s)
	if len(v.Insecure) > 0 {
		b.WriteString("\n" + s.Warn("insecure: "+cleanList(v.Insecure)) + "\n")
	}
	if len(v.NotPinned) > 0 {
		b.WriteString("\n" + s.Warn("not compared: ") + cleanList(v.NotPinned) + "\n")
	}
	if v.Accepted && len(v.Claims) > 0 {
		claimRows(&b, v.Claims, s)
	}
	return b.String()
}

func checkRows(b *strings.Builder, checks []attest.Check, s terminal.Style) {
	width := 0
	for _, c := range checks {
		width = max(width, terminal.Width(attestClean(c.Name)))
	}
	for _, c := range checks {
		mark := s.Good("✓")
		if !c.OK {
			mark = s.Bad("✗")
		}
		name := attestClean(c.Name)
		pad := strings.Repeat(" ", width-terminal.Width(name))
		b.WriteString(strings.TrimRight("  "+mark+" "+name+pad+"   "+attestClean(c.Detail), " ") + "\n")
	}
}

// claimRows shows claims only of accepted evidence: others mean nothing.
func claimRows(b *strings.Builder, claims map[string]any, s terminal.Style) {
	names := slices.Sorted(maps.Keys(claims))
	width := 0
	for _, n := range names {
		width = max(width, terminal.Width(attestClean(n)))
	}
	b.WriteString("\n" + s.Bold("claims") + "\n")
	for _, n := range names {
		name := attestClean(n)
		pad := strings.Repeat(" ", width-terminal.Width(name))
		b.WriteString(strings.TrimRight("  "+s.Dim(name)+pad+"   "+claimText(claims[n]), " ") + "\n")
	}
}

// claimText is a claim on one line: texts as they are, all else as JSON.
func claimText(v any) string {
	if text, ok := v.(string); ok {
		return terminal.Clean(text)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return attestClean(v)
	}
	return terminal.Clean(string(b))
}

func cleanList(texts []string) string {
	out := make([]string, 0, len(texts))
	for _, t := range texts {
		out = append(out, attestClean(t))
	}
	return strings.Join(out, ", ")
}
