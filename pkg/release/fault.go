package release

import (
	"fmt"
	"strings"
)

// Fault is one reason why a config file is refused.
type Fault struct {
	// Line and Column are where it is in the file, both counted from 1; 0
	// when the fault belongs to no place (an empty file).
	Line, Column int
	// Path is the key's place in the spec, such as containers[0].image.
	Path string
	// Reason says what is wrong and what to write instead.
	Reason string
}

// String gives the fault as "line:column: path: reason".
func (f Fault) String() string { return located(f.Line, f.Column, f.Path, f.Reason) }

// Warning is something an operator should know about a config file that is
// usable all the same: a key of another vintage that has no meaning here, or an
// old form that was taken.
type Warning struct {
	// Line and Column are where it is in the file, both counted from 1.
	Line, Column int
	// Path is the key's place in the spec, such as shim.tls-wildcard.
	Path string
	// Text says what was done with the key and what to write instead.
	Text string
}

// String gives the warning as "line:column: path: text".
func (w Warning) String() string { return located(w.Line, w.Column, w.Path, w.Text) }

// ParseError says why a config file is refused: every fault found in it, in the
// order of the file.
type ParseError struct {
	// Name is the file's name as given to Parse.
	Name string
	// Faults has at least one entry and at most MaxFaults.
	Faults []Fault
	// Omitted counts the faults beyond MaxFaults.
	Omitted int
}

// Error gives one line per fault, each beginning with the file's name.
func (e *ParseError) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%s", e.Name, f)
	}
	if e.Omitted > 0 {
		fmt.Fprintf(&b, "\n%s: and %d more", e.Name, e.Omitted)
	}
	return b.String()
}

func located(line, column int, path, text string) string {
	var b strings.Builder
	if line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", line, column)
	} else {
		b.WriteByte(' ')
	}
	if path != "" {
		b.WriteString(path + ": ")
	}
	b.WriteString(text)
	return b.String()
}
