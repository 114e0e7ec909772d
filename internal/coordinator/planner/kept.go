package planner

import (
	"strings"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// What is kept of a plan with its update: that is written again with every step, and
// a record has a limit. A config file may have thousands of settings, each of 64 KiB.
const (
	keptRooms = 10
	keptTexts = 50
	keptBytes = 256
)

// kept is the part of a plan that is stored.
func kept(p model.Plan) model.Plan {
	p.Hosts = p.Hosts[:min(len(p.Hosts), keptRooms)]
	changes := p.Changes[:min(len(p.Changes), keptTexts)]
	p.Changes = nil
	for _, c := range changes {
		p.Changes = append(p.Changes, model.Change{Path: clip(c.Path), Old: clip(c.Old), New: clip(c.New)})
	}
	warnings := p.Warnings[:min(len(p.Warnings), keptTexts)]
	p.Warnings = nil
	for _, w := range warnings {
		p.Warnings = append(p.Warnings, clip(w))
	}
	return p
}

func clip(s string) string {
	if len(s) <= keptBytes {
		return s
	}
	return strings.ToValidUTF8(s[:keptBytes], "") + "…"
}
