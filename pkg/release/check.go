package release

import (
	"errors"
	"fmt"
	"strings"
)

// File is a config file to check.
type File struct {
	// Name stands before every fault and warning.
	Name string
	// Content is the file; anything over MaxFileBytes is refused unread.
	Content []byte
}

// FileReport is what was found in one file.
type FileReport struct {
	// Name is the file's name.
	Name string
	// Config is the validated spec, nil when the file is refused.
	Config *Config
	// Faults are why it is refused; empty when it is usable.
	Faults []Fault
	// OmittedFaults counts the faults beyond MaxFaults.
	OmittedFaults int
	// Warnings are what an operator should know either way.
	Warnings []Warning
}

// Usable says that the file can be deployed.
func (r FileReport) Usable() bool { return r.Config != nil }

// Report is what was found in several files, in their order.
type Report []FileReport

// Usable says that every file can be deployed.
func (r Report) Usable() bool {
	for _, f := range r {
		if !f.Usable() {
			return false
		}
	}
	return true
}

// Check parses each file and reports what was found. It reads nothing itself.
func Check(files ...File) Report {
	report := make(Report, 0, len(files))
	for _, file := range files {
		report = append(report, checkFile(file))
	}
	return report
}

func checkFile(file File) FileReport {
	config, warnings, err := Parse(file.Name, file.Content)
	r := FileReport{Name: file.Name, Config: config, Warnings: warnings}
	var refused *ParseError
	if errors.As(err, &refused) {
		r.Faults, r.OmittedFaults = refused.Faults, refused.Omitted
	}
	return r
}

// String gives a paragraph per file: its name, whether it is usable, and a line
// for each fault and warning.
func (r Report) String() string {
	var b strings.Builder
	for _, f := range r {
		f.write(&b)
	}
	return b.String()
}

func (r FileReport) write(b *strings.Builder) {
	if r.Usable() {
		digest := r.Config.Digest()
		fmt.Fprintf(b, "%s: usable, sha256:%x\n", r.Name, digest)
	} else {
		fmt.Fprintf(b, "%s: refused\n", r.Name)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(b, "  error   %s\n", strings.TrimSpace(f.String()))
	}
	if r.OmittedFaults > 0 {
		fmt.Fprintf(b, "  error   and %d more\n", r.OmittedFaults)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(b, "  warning %s\n", strings.TrimSpace(w.String()))
	}
}
