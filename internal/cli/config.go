package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/internal/cli/terminal"
	"github.com/casemate-dev/casemate/pkg/release"
)

func newConfig(a *app) *cobra.Command {
	return group("config", "Check config files before they become a release", nil, newConfigCheck(a))
}

func newConfigCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "check FILE...", Short: "Say whether config files can be deployed, with lines", Args: cobra.MinimumNArgs(1),
		Long: `Say whether config files can be deployed. Each is usable, with its digest, or
refused, with every fault and its line; keys that have no meaning here are named
in warnings. Exit code 0 if all are usable, 1 otherwise. Needs no coordinator.`,
		Example: "  casemate config check casemate.yml\n  casemate config check -o json */tinfoil-config.yml",
		RunE: func(_ *cobra.Command, args []string) error {
			report, err := a.checkConfigs(args)
			if err != nil {
				return err
			}
			if err := a.report(report); err != nil {
				return err
			}
			if !report.Usable() {
				return told(ExitFailed, "not every file is usable")
			}
			return nil
		},
	}
}

// checkConfigs reads and checks the files. One that can't be read is refused like
// one that can't be used.
func (a *app) checkConfigs(names []string) (release.Report, error) {
	files := make([]release.File, 0, len(names))
	for _, name := range names {
		text, err := a.read(name, release.MaxFileBytes)
		if err != nil {
			return nil, failedf("%w: nothing was checked", err)
		}
		files = append(files, release.File{Name: name, Content: text})
	}
	return release.Check(files...), nil
}

func (a *app) report(report release.Report) error {
	if a.machine() {
		return a.items(reported(report))
	}
	var b strings.Builder
	for line := range strings.Lines(report.String()) {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		b.WriteString(indent + terminal.Clean(line) + "\n")
	}
	return write(a.env.Out, b.String())
}

// fileReport is the form of a report for programs.
type fileReport struct {
	Name     string    `json:"name"`
	Usable   bool      `json:"usable"`
	Digest   string    `json:"digest,omitempty"`
	Faults   []finding `json:"faults"`
	Omitted  int       `json:"omittedFaults"`
	Warnings []finding `json:"warnings"`
}

// finding is a fault or a warning.
type finding struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Path   string `json:"path"`
	Text   string `json:"text"`
}

func reported(report release.Report) []fileReport {
	out := make([]fileReport, 0, len(report))
	for _, f := range report {
		r := fileReport{Name: f.Name, Usable: f.Usable(), Omitted: f.OmittedFaults, Faults: []finding{}, Warnings: []finding{}}
		if f.Usable() {
			r.Digest = fmt.Sprintf("sha256:%x", f.Config.Digest())
		}
		for _, x := range f.Faults {
			r.Faults = append(r.Faults, finding{x.Line, x.Column, x.Path, x.Reason})
		}
		for _, x := range f.Warnings {
			r.Warnings = append(r.Warnings, finding{x.Line, x.Column, x.Path, x.Text})
		}
		out = append(out, r)
	}
	return out
}
